"""Expressions: FHIRPath over a run's data, and the `{{ }}` templates that hold them.

`"{{ input.patient_id }}"` alone keeps the type of the value; inside text it is interpolated. Names
begin at `input`, `steps`, `item`, `trigger`, `run` or `env`; inside `where(…)` and the like, where
FHIRPath names begin at the item, the same roots are `%input`, `%steps` and so on. A plain path
(`steps.labs.output.resources`) gives the JSON value at its end, lists included; other expressions
give null for an empty result, the value for one, a list for several.

Pure; nothing is ever evaluated as Python. Each evaluation has a budget of work and of size.
FHIRPath: https://hl7.org/fhirpath/N1/
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from fhir import fhirpath
from fhir.fhirpath import MAX_TEXT

ROOTS: Final = ("input", "steps", "item", "trigger", "run", "env")
MAX_LENGTH: Final = 4_000
_PLAIN_PATH: Final = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[\d+\])*")
_PLAIN_STEP: Final = re.compile(r"([A-Za-z_]\w*)|\[(\d+)\]")

Json = Any  # any JSON value
Roots = Mapping[str, Json]
Quote = Callable[[str], str]


class ExpressionError(ValueError):
    """An expression that can't be parsed or evaluated; `code` tells which."""

    def __init__(self, code: str, message: str, expression: str) -> None:
        super().__init__(f"{message} in `{expression}`")
        self.code = code
        self.expression = expression


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that an expression reads: `("steps", "labs", "output")`.

    `guarded` when the expression itself copes with its absence (`exists()`, `coalesce()` …).
    """

    path: tuple[str, ...]
    guarded: bool


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression, ready to be evaluated many times."""

    text: str
    references: tuple[Reference, ...]
    plain: tuple[str | int, ...] | None
    path: fhirpath.Path = field(repr=False, compare=False)

    def evaluate(self, roots: Roots) -> Json:
        """Return the value: null, one JSON value, or a list; raise ExpressionError."""
        if self.plain is not None:
            found, value = _walk(roots, self.plain)
            if found:
                return value
        results = self._results(roots)
        if len(results) > 1:
            return results
        return results[0] if results else None

    def collection(self, roots: Roots) -> Json:
        """Return the values as a list, also where there is one or none; a path to a text stays."""
        if self.plain is not None:
            found, value = _walk(roots, self.plain)
            if found:
                return [] if value is None else value
        return self._results(roots)

    def holds(self, roots: Roots) -> bool:
        """Return the value as a condition: empty counts as false; other types are errors."""
        value = self.evaluate(roots)
        if value is None or value == []:
            return False
        if isinstance(value, bool):
            return value
        kind = type(value).__name__
        raise ExpressionError(
            "not_boolean", f"A condition must be true or false, not {kind}", self.text
        )

    def _results(self, roots: Roots) -> list[Json]:
        try:
            return self.path.values(roots)
        except fhirpath.OverBudget:
            raise ExpressionError("too_much_work", "Too much work or data", self.text) from None
        except fhirpath.FhirPathError as error:
            message = f"Can't evaluate: {error}"
            raise ExpressionError("evaluation_failed", message, self.text) from None


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> Expression:
    """Return the parsed expression; raise ExpressionError `syntax`, `too_long`, `unknown_name`."""
    stripped = text.strip()
    if not stripped:
        raise ExpressionError("syntax", "Empty expression", text)
    if len(stripped) > MAX_LENGTH:
        raise ExpressionError("too_long", f"Over {MAX_LENGTH} characters", stripped[:80] + "…")
    try:
        path = fhirpath.compile_path(stripped)
    except fhirpath.OverBudget:
        raise ExpressionError("too_long", "Nested too deeply", stripped[:80]) from None
    except fhirpath.Unsupported as error:
        raise ExpressionError("unknown_name", str(error), stripped) from None
    except fhirpath.FhirPathError as error:
        raise ExpressionError("syntax", str(error), stripped) from None
    found = tuple(Reference(*reference) for reference in fhirpath.references(path.tree))
    return Expression(stripped, found, _plain_path(stripped), path)


# --- templates --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Template:
    """Text with expressions in it: constant parts and parsed expressions in turn."""

    parts: tuple[str | Expression, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        """Return the expressions in order."""
        return tuple(part for part in self.parts if isinstance(part, Expression))

    def resolve(self, roots: Roots, quote: Quote | None = None) -> Json:
        """Return the value of a lone expression, or text with each expression's value in it.

        `quote` is applied to each interpolated value (not to a lone one), to keep it one value
        where the text is a query.
        """
        if len(self.parts) == 1 and isinstance(self.parts[0], Expression):
            return self.parts[0].evaluate(roots)
        texts = [
            part if isinstance(part, str) else _as_text(part, part.evaluate(roots), quote)
            for part in self.parts
        ]
        text = "".join(texts)
        if len(text) > MAX_TEXT:
            raise ExpressionError("too_much_work", "The text gets too long", text[:80] + "…")
        return text


@lru_cache(maxsize=4096)
def parse_template(text: str) -> Template:
    """Split text at `{{ … }}`, minding quotes inside; raise ExpressionError."""
    parts: list[str | Expression] = []
    position = 0
    while (opened := text.find("{{", position)) >= 0:
        if opened > position:
            parts.append(text[position:opened])
        closed = _closing(text, opened + 2)
        parts.append(parse_expression(text[opened + 2 : closed]))
        position = closed + 2
    if position < len(text) or not parts:
        parts.append(text[position:])
    return Template(tuple(parts))


def resolve(value: Json, roots: Roots, quote: Quote | None = None) -> Json:
    """Return `value` with each template in it, at any depth, resolved; raise ExpressionError."""
    if isinstance(value, str):
        return parse_template(value).resolve(roots, quote) if "{{" in value else value
    if isinstance(value, Mapping):
        return {key: resolve(member, roots, quote) for key, member in value.items()}
    if isinstance(value, list):
        return [resolve(member, roots, quote) for member in value]
    return value


def resolve_list(value: Json, roots: Roots) -> Json:
    """Resolve what has to be a list: an expression gives all its values, not one alone."""
    if isinstance(value, str) and "{{" in value:
        template = parse_template(value)
        if len(template.parts) == 1 and isinstance(template.parts[0], Expression):
            return template.parts[0].collection(roots)
    return resolve(value, roots)


def find_templates(value: Json, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield `(field, text)` for each text with a template in it, at any depth."""
    if isinstance(value, str):
        if "{{" in value:
            yield at, value
    elif isinstance(value, Mapping):
        for key, member in value.items():
            yield from find_templates(member, f"{at}.{key}" if at else str(key))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from find_templates(member, f"{at}[{index}]")


def _closing(text: str, start: int) -> int:
    quote = ""
    position = start
    while position < len(text):
        character = text[position]
        if quote:
            if character == "\\":
                position += 1
            elif character == quote:
                quote = ""
        elif character in "'`\"":
            quote = character
        elif text.startswith("}}", position):
            return position
        position += 1
    raise ExpressionError("syntax", "A `{{` without its `}}`", text[start - 2 :][:80])


def _as_text(expression: Expression, value: Json, quote: Quote | None) -> str:
    match value:
        case None:
            text = ""
        case bool():
            text = "true" if value else "false"
        case str() | int() | float():
            text = str(value)
        case list() if all(isinstance(member, str | int | float) for member in value):
            text = ",".join(str(member) for member in value)
        case _:
            raise ExpressionError("not_text", "This value can't stand inside text", expression.text)
    return quote(text) if quote else text


# --- plain paths ------------------------------------------------------------------------------


def _plain_path(text: str) -> tuple[str | int, ...] | None:
    if not _PLAIN_PATH.fullmatch(text) or text.split(".")[0].split("[")[0] not in ROOTS:
        return None
    return tuple(name or int(index) for name, index in _PLAIN_STEP.findall(text))


def _walk(roots: Roots, path: tuple[str | int, ...]) -> tuple[bool, Json]:
    """Follow a plain path; `(False, …)` when a list on the way needs FHIRPath's flattening."""
    value: Json = roots
    for name in path:
        if isinstance(name, int):
            if not isinstance(value, list):
                return False, None
            value = value[name] if name < len(value) else None
        elif isinstance(value, Mapping):
            value = value.get(name)
        elif isinstance(value, list):
            return False, None
        else:
            return True, None
        if value is None:
            return True, None
    return True, value
