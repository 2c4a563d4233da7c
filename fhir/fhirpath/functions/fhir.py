"""Functions that FHIR adds, and those of the clock. https://hl7.org/fhir/R4/fhirpath.html#functions

The keys are those of SQL on FHIR: https://sql-on-fhir.org/ig/StructureDefinition-ViewDefinition.html
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from fhir.fhirpath.errors import EvaluationFailed, Unsupported
from fhir.fhirpath.functions.function import Function, eager, text
from fhir.fhirpath.nodes import Node, ancestors, children, node_of, system
from fhir.fhirpath.scope import Item, Items, Scope
from fhir.fhirpath.temporal import Temporal

_BASE: Final = "http://hl7.org/fhir/StructureDefinition/"


def _extension(items: Items, scope: Scope, given: Items) -> Items:
    url = text(given, "extension")
    return [
        one
        for item in items
        for one in children(item, "extension")
        if isinstance(one.value, dict) and one.value.get("url") == url
    ]


def _has_extension(items: Items, scope: Scope, given: Items) -> Items:
    return [bool(_extension(items, scope, given))]


def _has_value(items: Items, scope: Scope) -> Items:
    return [len(items) == 1 and _is_value(items[0])]


def _is_value(item: Item) -> bool:
    return not isinstance(item, Node) or (item.is_primitive and item.value is not None)


def _get_value(items: Items, scope: Scope) -> Items:
    return [system(items[0])] if len(items) == 1 and _is_value(items[0]) else []


def _resolve(items: Items, scope: Scope) -> Items:
    found: Items = []
    for item in items:
        literal = item.value.get("reference") if _is_object(item) else system(item)
        if not isinstance(literal, str):
            continue
        target = _contained(item, literal) if literal.startswith("#") else None
        if target is None and scope.environment is not None:
            target = scope.environment.resolve(literal)
        if target is not None:
            found.append(target)
    return found


def _is_object(item: Item) -> bool:
    return isinstance(item, Node) and isinstance(item.value, dict)


def _contained(item: Item, literal: str) -> Node | None:
    """Return the resource that a fragment names, in the outermost resource around an item."""
    owner = item if isinstance(item, Node) else None
    while owner is not None:
        inner = owner.value.get("contained") if isinstance(owner.value, dict) else None
        for entry in inner if isinstance(inner, list) else ():
            if isinstance(entry, dict) and entry.get("id") == literal[1:]:
                return node_of(entry, owner)
        owner = owner.parent
    return None


def _member_of(items: Items, scope: Scope, given: Items) -> Items:
    url = text(given, "memberOf")
    if not items or url is None:
        return []
    if scope.environment is None or len(items) > 1:
        raise EvaluationFailed("memberOf() takes one item, and needs the terminology of a project.")
    answers = [scope.environment.is_member(url, *code) for code in _codes(items[0])]
    if True in answers:
        return [True]
    if None in answers:
        raise Unsupported(f"The value set {url} is not known here")
    return [False]


def _codes(item: Item) -> list[tuple[str, str]]:
    if not _is_object(item):
        value = system(item)
        return [("", value)] if isinstance(value, str) else []
    codings = item.value.get("coding", [item.value])
    return [
        (str(coding.get("system", "")), coding["code"])
        for coding in (codings if isinstance(codings, list) else ())
        if isinstance(coding, dict) and isinstance(coding.get("code"), str)
    ]


def _conforms(items: Items, scope: Scope, given: Items) -> Items:
    url = text(given, "conformsTo")
    if len(items) != 1 or url is None:
        return []
    kind = url.removeprefix(_BASE)
    if isinstance(items[0], Node) and kind in ancestors(items[0].kind):
        return [True]
    found = scope.environment.conforms(items[0], url) if scope.environment is not None else None
    if found is None and url.startswith(_BASE) and kind.isalpha() and ancestors(kind) != (kind,):
        return [False]
    if found is None:
        raise Unsupported(f"The profile {url[:200]} is not known here")
    return [found]


def _is_html(items: Items, scope: Scope) -> Items:
    from fhir.validation.narrative import is_safe

    subject = text(items, "htmlChecks")
    return [subject is None or is_safe(subject)]


def _now(scope: Scope) -> datetime:
    if scope.now is None:
        scope.now = datetime.now(UTC)
    return scope.now


def _resource_key(items: Items, scope: Scope) -> Items:
    return [one for item in items for one in children(item, "id")]


def _reference_key(items: Items, scope: Scope, space: str = "", name: str = "") -> Items:
    """Return the ids that references end with, of one type where that is named."""
    found: Items = []
    for item in items:
        literal = item.value.get("reference") if _is_object(item) else None
        parts = str(literal or "").partition("/_history/")[0].split("/")
        if len(parts) >= 2 and (not name or parts[-2] == name):
            found.append(parts[-1])
    return found


def _today(items: Items, scope: Scope) -> Items:
    now = _now(scope)
    return [Temporal("Date", (now.year, now.month, now.day))]


def _moment(items: Items, scope: Scope) -> Items:
    now = _now(scope)
    parts = (now.year, now.month, now.day, *_clock(now))
    return [Temporal("DateTime", parts, 0)]


def _time_of_day(items: Items, scope: Scope) -> Items:
    return [Temporal("Time", _clock(_now(scope)))]


def _clock(now: datetime) -> tuple[int, int, Decimal]:
    seconds = now.second + Decimal(now.microsecond // 1000).scaleb(-3)
    return now.hour, now.minute, seconds.quantize(Decimal("0.001"))


FHIR: Final[Mapping[str, Function]] = {
    "conformsTo": eager(_conforms, 1),
    "extension": eager(_extension, 1),
    "getReferenceKey": Function(_reference_key, 0, 1, "type"),
    "getResourceKey": eager(_resource_key),
    "getValue": eager(_get_value),
    "hasExtension": eager(_has_extension, 1),
    "hasValue": eager(_has_value),
    "htmlChecks": eager(_is_html),
    "memberOf": eager(_member_of, 1),
    "now": eager(_moment),
    "resolve": eager(_resolve),
    "timeOfDay": eager(_time_of_day),
    "today": eager(_today),
}
