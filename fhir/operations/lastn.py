"""`Observation/$lastn`: the latest observations of each kind.

https://hl7.org/fhir/R4/observation-operation-lastn.html
"""

from collections.abc import Sequence
from typing import Final

from fhir.bundles import searchset
from fhir.documents import JsonObject
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.rows import STORED_COLUMNS, stored_of
from fhir.search.context import SearchContext
from fhir.search.parser import parse as parse_search
from fhir.search.parser import parse_pairs
from fhir.search.query import matching
from fhir.search.request import types_touched
from fhir.search.service import SearchResult
from fhir.sql import fetch
from fhir.stored import StoredResource
from healthcloud.tenancy.scope import active_project

_MAXIMUM: Final = 100
_SCAN: Final = 50_000
_SUBJECT: Final = ("patient", "subject")


def lastn(call: Call) -> bytes:
    """Answer the latest `max` (1 unless said) observations of each code of one subject.

    Codings that stand together in one `code` are one kind, as the definition has it. Any search
    parameter of Observation narrows what is looked at; `patient` or `subject` is required.
    """
    maximum = call.parameters.integer("max", minimum=1, maximum=_MAXIMUM) or 1
    pairs = [
        (name, value)
        for name in sorted(call.parameters.names() - {"max"})
        for value in call.parameters.texts(name)
    ]
    if not any(name.partition(":")[0].partition(".")[0] in _SUBJECT for name, _ in pairs):
        raise InvalidParameter("Name the patient: `patient` or `subject`.", param="patient")
    request = parse_search("Observation", parse_pairs(pairs), strict=True)
    call.require(*(f"{name}:read" for name in sorted(types_touched(request))))
    _, project = active_project()
    where = matching(request, SearchContext(project, call.now))
    rows = fetch(
        f"SELECT {STORED_COLUMNS} FROM fhir_resource r"
        f" WHERE {where.sql} ORDER BY r.date_low DESC, r.pk DESC LIMIT %s::integer",
        (*where.params, _SCAN),
        prepare=False,
    )
    found = _latest([stored_of(row) for row in rows], maximum)
    result = SearchResult(
        found, [], total=len(found), next_query=None, self_query=call.query, request=request
    )
    return searchset(result, now=call.now, base=call.base, address=call.address)


def _latest(observations: Sequence[StoredResource], maximum: int) -> list[StoredResource]:
    """Return the first ones of each kind, kinds in the order of their latest one."""
    names = [_names(observation.resource.get("code", {})) for observation in observations]
    same = _Kinds()
    for together in names:
        same.unite(together)
    kinds: dict[str, list[StoredResource]] = {}
    for observation, together in zip(observations, names, strict=True):
        kinds.setdefault(same.root(together[0]), []).append(observation)
    return [observation for members in kinds.values() for observation in members[:maximum]]


def _names(code: JsonObject) -> list[str]:
    """Return what tells one kind from another: the codings, or the text where there are none."""
    codings = [f"{c.get('system', '')}|{c['code']}" for c in code.get("coding", ()) if "code" in c]
    return codings or [f"text:{code.get('text', '')}"]


class _Kinds:
    """Names that mean the same, united pair by pair."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}

    def root(self, name: str) -> str:
        """Return the name that stands for all that mean the same."""
        while (parent := self._parents.get(name, name)) != name:
            name = parent
        return name

    def unite(self, names: Sequence[str]) -> None:
        """Let names mean the same."""
        first = self.root(names[0])
        for name in names[1:]:
            self._parents[self.root(name)] = first


OPERATION = Operation(
    name="lastn",
    run=lastn,
    levels=frozenset({"type"}),
    types=frozenset({"Observation"}),
    summary="Answer the latest observations of each kind of one subject.",
    any_input=True,
    definition=f"{HL7}Observation-lastn",
    weight=2,
)
