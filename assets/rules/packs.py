"""Rule packs: their model and their reader. Faults name the file and the field."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from assets.rules.expressions import Expression, ExpressionError, Junction, Kind, parse
from assets.rules.inputs import Input

SCHEMAS = Path(__file__).parent / "schemas"
VOCABULARY = "inputs.yaml"


class PackError(Exception):
    """A rule file that can't be used; `problems` are `(field, what is wrong)`."""

    def __init__(self, file: str, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{file}: {at}: {what}" for at, what in problems))
        self.file = file
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a rule was published."""

    text: str
    url: str
    doi: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the JSON form kept with results."""
        return {"text": self.text, "doi": self.doi, "url": self.url}


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A recorded state in which a pack or rule does not apply. Unknown excludes nothing."""

    when: Expression
    because: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: true in the population when its condition holds."""

    id: str
    title: str
    when: Expression
    exclusions: tuple[Exclusion, ...]
    citation: Citation
    output: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RulePack:
    """A published set of rules. `kinds` are the names its expressions may use."""

    id: str
    version: str
    title: str
    purpose: str
    citation: Citation
    population: str
    exclusions: tuple[Exclusion, ...]
    uses: Mapping[str, str]
    definitions: Mapping[str, Expression]
    rules: tuple[Rule, ...]
    cases: tuple[Mapping[str, Any], ...]
    notes: str = ""

    @property
    def label(self) -> str:
        """`little-2010-dipstick@1.0.0`."""
        return f"{self.id}@{self.version}"


def read_inputs(path: Path) -> dict[str, Input]:
    """Read a vocabulary; PackError names file and field."""
    document = _document(path, "inputs.schema.json")
    systems = document["systems"]
    problems = [
        (f"inputs.{name}.codes", f"unknown system {code.partition('|')[0]!r}")
        for name, entry in document["inputs"].items()
        for field_name in ("codes", "absent_codes", "umbrella_codes")
        for code in entry.get(field_name, ())
        if code.partition("|")[0] not in systems
    ]
    if problems:
        raise PackError(path.name, problems)
    return {name: Input.of(name, entry, systems) for name, entry in document["inputs"].items()}


def read_packs(folder: Path, inputs: Mapping[str, Input]) -> dict[str, RulePack]:
    """Read all packs of a folder, used packs before the packs that use them."""
    documents = {
        path.stem: _document(path, "pack.schema.json")
        for path in sorted(folder.glob("*.yaml"))
        if path.name != VOCABULARY
    }
    packs: dict[str, RulePack] = {}
    for name in documents:
        _read(name, documents, packs, inputs, ())
    return packs


def _read(
    name: str,
    documents: Mapping[str, Mapping[str, Any]],
    packs: dict[str, RulePack],
    inputs: Mapping[str, Input],
    path: tuple[str, ...],
) -> None:
    if name in packs:
        return
    document = documents[name]
    file = f"{name}.yaml"
    if document["id"] != name:
        raise PackError(file, [("id", f"is {document['id']!r}; the file must bear that name")])
    for alias, used in document.get("uses", {}).items():
        if used not in documents or used in (*path, name):
            raise PackError(file, [(f"uses.{alias}", f"no pack {used!r}, or it uses this one")])
        _read(used, documents, packs, inputs, (*path, name))
    packs[name] = _PackReader(file, document, packs, inputs).pack()


class _PackReader:
    """Builds one pack; collects every faulty expression before it gives up."""

    def __init__(
        self,
        file: str,
        document: Mapping[str, Any],
        packs: Mapping[str, RulePack],
        inputs: Mapping[str, Input],
    ) -> None:
        self.file = file
        self.document = document
        self.problems: list[tuple[str, str]] = []
        self.kinds: dict[str, Kind] = {name: item.value_kind for name, item in inputs.items()}
        for alias, used in document.get("uses", {}).items():
            self.kinds |= {f"{alias}.{rule.id}": "boolean" for rule in packs[used].rules}

    def pack(self) -> RulePack:
        document = self.document
        definitions = {}
        for name, text in document.get("definitions", {}).items():
            if name in self.kinds:
                self.problems.append((f"definitions.{name}", "is already an input"))
            definitions[name] = self.expression(f"definitions.{name}", text)
            self.kinds[name] = "boolean"
        population = document.get("population", {})
        pack = RulePack(
            id=document["id"],
            version=document["version"],
            title=document["title"],
            purpose=document["purpose"],
            citation=Citation(**document["citation"]),
            population=population.get("description", ""),
            exclusions=tuple(self.exclusions("population", population)),
            uses=document.get("uses", {}),
            definitions=definitions,
            rules=tuple(self.rules(population)),
            cases=tuple(document["cases"]),
            notes=document.get("notes", ""),
        )
        if self.problems:
            raise PackError(self.file, self.problems)
        return pack

    def exclusions(self, at: str, holder: Mapping[str, Any]) -> Iterator[Exclusion]:
        for number, entry in enumerate(holder.get("unless", ())):
            when = self.expression(f"{at}.unless[{number}].when", entry["when"])
            yield Exclusion(when, entry["because"])

    def rules(self, population: Mapping[str, Any]) -> Iterator[Rule]:
        inside = None
        if "when" in population:
            inside = self.expression("population.when", population["when"])
        seen: set[str] = set()
        for number, entry in enumerate(self.document["rules"]):
            when = self.expression(f"rules[{number}].when", entry["when"])
            if entry["id"] in seen:
                self.problems.append((f"rules[{number}].id", f"{entry['id']!r} stands twice"))
            seen.add(entry["id"])
            origin = entry.get("output", {}).get("from")
            if origin is not None and origin not in self.kinds:
                self.problems.append((f"rules[{number}].output.from", f"no rule {origin!r}"))
            yield Rule(
                id=entry["id"],
                title=entry["title"],
                when=when if inside is None else Junction(2, (inside, when)),
                exclusions=tuple(self.exclusions(f"rules[{number}]", entry)),
                citation=Citation(**entry.get("citation", self.document["citation"])),
                output=entry.get("output", {}),
            )

    def expression(self, at: str, text: str) -> Expression:
        try:
            return parse(text, self.kinds)
        except ExpressionError as error:
            self.problems.append((at, str(error)))
            return parse("false", {})


@lru_cache(maxsize=4)
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    document = json.loads((SCHEMAS / schema).read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(document)


def _document(path: Path, schema: str) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise PackError(path.name, [("file", str(error))]) from error
    faults = sorted(_validator(schema).iter_errors(document), key=lambda fault: fault.json_path)
    if faults:
        raise PackError(
            path.name, [(fault.json_path[2:] or "file", fault.message) for fault in faults]
        )
    checked: Mapping[str, Any] = document
    return checked
