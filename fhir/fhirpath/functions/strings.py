"""Functions on texts. https://hl7.org/fhirpath/N1/#string-manipulation"""

import base64
import binascii
from collections.abc import Callable, Mapping
from typing import Final

from fhir.fhirpath.errors import EvaluationFailed, OverBudget
from fhir.fhirpath.functions.function import Function, eager, text, whole
from fhir.fhirpath.functions.patterns import replace_matches, tests
from fhir.fhirpath.operators import calculate
from fhir.fhirpath.scope import MAX_TEXT, Items, Scope

_MARKS: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}
_HTML: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}


def _on_text(name: str, work: Callable[[str], object]) -> Function:
    def apply(items: Items, scope: Scope) -> Items:
        subject = text(items, name)
        return [] if subject is None else calculate(lambda: work(subject))

    return eager(apply)


def _with_text(name: str, work: Callable[[str, str], object]) -> Function:
    def apply(items: Items, scope: Scope, given: Items) -> Items:
        subject, argument = text(items, name), text(given, name)
        if subject is None or argument is None:
            return []
        return calculate(lambda: work(subject, argument))

    return eager(apply, 1)


def _substring(items: Items, scope: Scope, start: Items, length: Items | None = None) -> Items:
    subject, at = text(items, "substring"), whole(start, "substring")
    if subject is None or at is None or not 0 <= at < len(subject):
        return []
    count = whole(length, "substring") if length is not None else None
    return [subject[at:] if count is None else subject[at : at + max(0, count)]]


def _replace(items: Items, scope: Scope, pattern: Items, new: Items) -> Items:
    subject, old, other = (text(part, "replace") for part in (items, pattern, new))
    if subject is None or old is None or other is None:
        return []
    if subject.count(old) * len(other) > MAX_TEXT:
        raise OverBudget
    return calculate(lambda: subject.replace(old, other))


def _matches(name: str, *, entirely: bool) -> Function:
    def apply(items: Items, scope: Scope, given: Items) -> Items:
        subject, pattern = text(items, name), text(given, name)
        if subject is None or pattern is None:
            return []
        scope.budget.spend(1 + len(subject) // 64)
        return [tests(pattern, subject, entirely=entirely)]

    return eager(apply, 1)


def _replace_matches(items: Items, scope: Scope, given: Items, new: Items) -> Items:
    subject, pattern, other = (text(part, "replaceMatches") for part in (items, given, new))
    if subject is None or pattern is None or other is None:
        return []
    if not pattern:
        return [subject]
    return calculate(lambda: replace_matches(pattern, subject, other))


def _split(items: Items, scope: Scope, given: Items) -> Items:
    subject, separator = text(items, "split"), text(given, "split")
    if subject is None or separator is None:
        return []
    return list(subject.split(separator) if separator else subject)


def _join(items: Items, scope: Scope, given: Items | None = None) -> Items:
    texts = [found for item in items if (found := text([item], "join")) is not None]
    separator = (text(given, "join") if given is not None else "") or ""
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_TEXT:
        raise OverBudget
    return [separator.join(texts)] if items or scope.joins_nothing else []


def _encode(subject: str, kind: str) -> str | None:
    data = subject.encode()
    match kind:
        case "hex":
            return data.hex()
        case "base64":
            return base64.b64encode(data).decode()
        case "urlbase64":
            return base64.urlsafe_b64encode(data).decode()
    raise EvaluationFailed("encode() knows hex, base64 and urlbase64.")


def _decode(subject: str, kind: str) -> str | None:
    try:
        match kind:
            case "hex":
                return bytes.fromhex(subject).decode()
            case "base64":
                return base64.b64decode(subject, validate=True).decode()
            case "urlbase64":
                return base64.urlsafe_b64decode(subject).decode()
    except (ValueError, binascii.Error):
        return None
    raise EvaluationFailed("decode() knows hex, base64 and urlbase64.")


def _escape(subject: str, kind: str) -> str:
    table = {"json": _MARKS, "html": _HTML}.get(kind)
    if table is None:
        raise EvaluationFailed("escape() knows html and json.")
    return "".join(table.get(character, character) for character in subject)


def _unescape(subject: str, kind: str) -> str:
    table = {"json": _MARKS, "html": _HTML}.get(kind)
    if table is None:
        raise EvaluationFailed("unescape() knows html and json.")
    for plain, escaped in reversed(table.items()):
        subject = subject.replace(escaped, plain)
    return subject


STRINGS: Final[Mapping[str, Function]] = {
    "contains": _with_text("contains", lambda a, b: b in a),
    "decode": _with_text("decode", _decode),
    "encode": _with_text("encode", _encode),
    "endsWith": _with_text("endsWith", lambda a, b: a.endswith(b)),
    "escape": _with_text("escape", _escape),
    "indexOf": _with_text("indexOf", lambda a, b: a.find(b)),
    "join": eager(_join, 0, 1),
    "lastIndexOf": _with_text("lastIndexOf", lambda a, b: a.rfind(b)),
    "length": _on_text("length", len),
    "lower": _on_text("lower", str.lower),
    "matches": _matches("matches", entirely=False),
    "matchesFull": _matches("matchesFull", entirely=True),
    "replace": eager(_replace, 2),
    "replaceMatches": eager(_replace_matches, 2),
    "split": eager(_split, 1),
    "startsWith": _with_text("startsWith", lambda a, b: a.startswith(b)),
    "substring": eager(_substring, 1, 2),
    "toChars": eager(lambda items, scope: list(text(items, "toChars") or "")),
    "trim": _on_text("trim", str.strip),
    "unescape": _with_text("unescape", _unescape),
    "upper": _on_text("upper", str.upper),
}
