"""Invariants of the datatypes. https://hl7.org/fhir/R4/datatypes.html"""

from datetime import datetime

from fhir.instants import date_range
from fhir.validation.invariants.rule import (
    Context,
    Holds,
    Json,
    Node,
    Rule,
    has,
    has_any,
    has_choice,
    implies,
    number,
)
from fhir.validation.narrative import has_content, is_safe
from fhir.validation.references import agrees_with_type

UCUM = "http://unitsofmeasure.org"


def _starts_before_end(period: Node, _: Context) -> bool:
    start, end = period.get("start"), period.get("end")
    if start is None or end is None:
        return True
    low, high = _instant(start), _instant(end, last=True)
    return low is None or high is None or low < high


def _instant(text: str, *, last: bool = False) -> datetime | None:
    try:
        return date_range(text)[1 if last else 0]
    except ValueError:
        return None  # the schema has said so already


def _low_to_high(node: Node, _: Context) -> bool:
    low, high = node.get("low"), node.get("high")
    if not low or not high or "value" not in low or "value" not in high:
        return True
    if (low.get("system"), low.get("code")) != (high.get("system"), high.get("code")):
        return True  # other units: R4 leaves the comparison empty
    return number(low["value"]) <= number(high["value"])


def _in_ucum(node: Node) -> bool:
    return (has(node, "code") or not has(node, "value")) and node.get("system", UCUM) == UCUM


def _is_unit(node: Node, _: Context) -> bool:
    from fhir.search.units import is_ucum  # for what asks for warnings only

    return node.get("system") != UCUM or "code" not in node or is_ucum(node["code"])


def _is_age(node: Node, _: Context) -> bool:
    return _in_ucum(node) and ("value" not in node or number(node["value"]) > 0)


def _is_count(node: Node, _: Context) -> bool:
    value = node.get("value")
    whole = value is None or number(value) == number(value).to_integral_value()
    return _in_ucum(node) and node.get("code", "1") == "1" and whole


def _is_duration(node: Node, _: Context) -> bool:
    return not has(node, "code") or (node.get("system") == UCUM and has(node, "value"))


def _is_whole_ratio(node: Node, _: Context) -> bool:
    both = has(node, "numerator") == has(node, "denominator")
    return both and has_any(node, "numerator", "extension")


def _is_contained(node: Node, context: Context) -> bool:
    literal = node.get("reference")
    if literal is None or not literal.startswith("#"):
        return True
    wanted = literal[1:]
    return not wanted or any(
        isinstance(entry, dict) and entry.get("id") == wanted
        for entry in context.root.get("contained", ())
    )


def _has_either(node: Node, _: Context) -> bool:
    return ("extension" in node) != has_choice(node, "value")


def _size_fits(node: Node, _: Context) -> bool:
    data, size = node.get("data"), node.get("size")
    if data is None or size is None:
        return True
    packed = "".join(data.split())
    return bool(size == len(packed) // 4 * 3 - packed.count("=", -2))


def _xor(first: str, second: str) -> Holds:
    return lambda n, c: has(n, first) != has(n, second)


def _is_not_negative(value: Json) -> bool:
    return value is None or number(value) >= 0


def _offset_has_event(node: Node, _: Context) -> bool:
    meals = {"C", "CM", "CD", "CV"}
    when = node.get("when", ())
    return not has(node, "offset") or (bool(when) and not (len(when) == 1 and when[0] in meals))


def _fits_trigger(node: Node, _: Context) -> bool:
    kind = node.get("type", "")
    return (
        implies(kind == "named-event", has(node, "name"))
        and implies(kind == "periodic", has_choice(node, "timing"))
        and implies(kind.startswith("data-"), has(node, "data"))
    )


RULES: dict[str, Rule] = {
    "age-1": Rule(_is_age, "Give the age a positive value with a UCUM code and system."),
    "att-1": Rule(
        lambda n, c: "data" not in n or has(n, "contentType"),
        "Data needs a contentType: add the MIME type.",
    ),
    "attachment-size": Rule(_size_fits, "size is not the number of bytes in data: correct it."),
    "cnt-3": Rule(_is_count, "A count is a whole number; its UCUM code is '1'."),
    "cpt-2": Rule(
        lambda n, c: "value" not in n or has(n, "system"),
        "A contact value needs a system: add phone, fax, email, pager, url, sms or other.",
    ),
    "dis-1": Rule(lambda n, c: _in_ucum(n), "A distance needs a UCUM code and system."),
    "drq-1": Rule(_xor("path", "searchParam"), "Give either path or searchParam, not both."),
    "drq-2": Rule(_xor("path", "searchParam"), "Give either path or searchParam, not both."),
    "drt-1": Rule(_is_duration, "A duration with a code needs a value and the UCUM system."),
    "exp-1": Rule(
        lambda n, c: has_any(n, "expression", "reference"),
        "Give an expression or a reference to one.",
    ),
    "ext-1": Rule(
        _has_either, "An extension has either a value or extensions of its own, not both or none."
    ),
    "per-1": Rule(_starts_before_end, "The period ends before it starts: correct start or end."),
    "qty-3": Rule(
        lambda n, c: "code" not in n or has(n, "system"),
        f"A unit code needs its system: add it, {UCUM} for UCUM.",
    ),
    "rat-1": Rule(_is_whole_ratio, "Give numerator and denominator together, or an extension."),
    "ref-1": Rule(
        _is_contained, "No contained resource has this id: add it to contained, or correct it."
    ),
    "reference-type": Rule(
        agrees_with_type, "type is not the type that reference points to: correct one of them."
    ),
    "rng-2": Rule(_low_to_high, "low is greater than high: exchange or correct them."),
    "tim-1": Rule(
        lambda n, c: "duration" not in n or has(n, "durationUnit"), "Add the durationUnit."
    ),
    "tim-2": Rule(lambda n, c: "period" not in n or has(n, "periodUnit"), "Add the periodUnit."),
    "tim-4": Rule(lambda n, c: _is_not_negative(n.get("duration")), "A duration is not negative."),
    "tim-5": Rule(lambda n, c: _is_not_negative(n.get("period")), "A period is not negative."),
    "tim-6": Rule(
        lambda n, c: "periodMax" not in n or has(n, "period"), "periodMax needs a period."
    ),
    "tim-7": Rule(
        lambda n, c: "durationMax" not in n or has(n, "duration"), "durationMax needs a duration."
    ),
    "tim-8": Rule(lambda n, c: "countMax" not in n or has(n, "count"), "countMax needs a count."),
    "tim-9": Rule(
        _offset_has_event, "An offset needs an event in when, and not only C, CM, CD or CV."
    ),
    "tim-10": Rule(
        lambda n, c: "timeOfDay" not in n or "when" not in n, "Give timeOfDay or when, not both."
    ),
    "trd-1": Rule(
        lambda n, c: "data" not in n or not has_choice(n, "timing"),
        "Give data or timing, not both.",
    ),
    "trd-2": Rule(lambda n, c: "condition" not in n or has(n, "data"), "A condition needs data."),
    "trd-3": Rule(
        _fits_trigger,
        "A named event needs a name, a periodic trigger a timing, a data trigger data.",
    ),
    "txt-1": Rule(
        lambda n, c: "div" not in n or is_safe(n["div"]),
        "The narrative must be one well-formed XHTML <div> with basic formatting only: no "
        "scripts, style sheets, forms, event attributes, or named entities that XML lacks (write "
        "&#160; for &nbsp;).",
    ),
    "ucum-code": Rule(
        _is_unit, "The code is no unit of UCUM: correct it, or drop the system.", "warning"
    ),
    "txt-2": Rule(
        lambda n, c: "div" not in n or has_content(n["div"]),
        "The narrative is empty: write text or leave it out.",
        "warning",
    ),
}
