"""What an Observation's value says, however the laboratory wrote it.

Presence tests come as `POSITIVE`, `2+`, `trace`, `Not detected`, booleans, SNOMED CT or LOINC
answer codes, numbers with a reference range, or only as an interpretation flag. An uninterpretable
value (`TNP`, `pending`) is unknown, never negative.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from assets.rules.intervals import INFINITY, Interval, Truth

Element = Mapping[str, Any]
"""An Observation or one of its components."""

POSITIVE_CODES = frozenset(
    {
        *("10828004", "260373001", "52101004", "373066001"),  # positive, detected, present, yes
        *("260347006", "260348001", "260349009", "260350009"),  # +, ++, +++, ++++
        "263654008",  # abnormal
        *("314137006", "394712000"),  # urine nitrite positive, urine leukocytes +
        *("167300001", "167301002", "167302009"),  # urine blood +, ++, +++
        *("LA6576-8", "LA11882-0", "LA9633-4", "LA33-6"),  # the same words as LOINC answers
        *("POS", "DET", "A", "AA", "H", "HH", "HU", "Y"),  # HL7 v3 interpretation, v2 yes
    }
)
NEGATIVE_CODES = frozenset(
    {
        *("260385009", "260415000", "2667000", "373067005"),  # negative, not detected, absent, no
        *("17621005", "260413007"),  # normal, none
        *("314138001", "394717006", "167297006"),  # urine nitrite, leukocytes, blood negative
        *("LA6577-6", "LA11883-8", "LA9634-2", "LA32-8"),
        *("NEG", "ND", "N", "L"),
    }
)
TRACE_CODES = frozenset({"260405006"})

UNUSABLE = re.compile(
    r"\b(tnp|not (performed|tested|done|available)|qns|insufficient|cancel\w*|pending|invalid"
    r"|indeterminate|equivocal|see (note|comment)|unknown)\b"
)
TRACE = re.compile(r"\b(trace|tr)\b|\+/-|±")
NEGATIVE = re.compile(
    r"\b(neg|negative|not (detected|present|seen|found)|undetected|none( seen| detected)?|absent"
    r"|absence|nil|non-?reactive|normal|denie[sd]|no|false)\b"
)
POSITIVE = re.compile(
    r"\b(pos|positive|detected|present|reactive|abnormal|small|moderate|large|few|many|yes|true)\b"
    r"|(?<![\d.])[1-4] ?\+|\+ ?[1-4](?![\d.])|(^|[\s=(])\+{1,4}($|[\s)])"
)
BARE = {"-": False, "--": False, "0": False, "n": False, "nd": False, "y": True, "p": True}
BARE |= dict.fromkeys(("1", "2", "3", "4"), True)


def presence(element: Element, *, trace_is_positive: bool) -> Truth:
    """Return whether a presence test is positive; None where the value does not say."""
    if "dataAbsentReason" in element:
        return None
    if isinstance(element.get("valueBoolean"), bool):
        return bool(element["valueBoolean"])
    found = _coded_presence(element.get("valueCodeableConcept"), trace_is_positive)
    if found is None and isinstance(element.get("valueString"), str):
        found = presence_in_text(element["valueString"], trace_is_positive=trace_is_positive)
    if found is None:
        found = _measured_presence(element)
    return _flagged(element) if found is None and not _is_unusable(element) else found


def presence_in_text(text: str, *, trace_is_positive: bool) -> Truth:
    """Return what a result text says; None for a text that says neither or both."""
    text = " ".join(text.lower().split())
    if text in BARE:
        return BARE[text]
    if not text or UNUSABLE.search(text):
        return None
    if TRACE.search(text):
        return trace_is_positive
    without, denials = NEGATIVE.subn(" ", text)
    asserted = POSITIVE.search(without) is not None
    return None if asserted and denials else True if asserted else False if denials else None


def number(element: Element, unit: str) -> Interval | None:
    """Return a measured number in `unit` (UCUM); None where the value does not say."""
    if "dataAbsentReason" in element:
        return None
    if isinstance(quantity := element.get("valueQuantity"), Mapping):
        return _quantity(quantity, unit)
    if isinstance(value := element.get("valueInteger"), int):
        return Interval.exactly(value)
    if isinstance(bounds := element.get("valueRange"), Mapping):
        low = _decimal(bounds.get("low", {}).get("value"))
        high = _decimal(bounds.get("high", {}).get("value"))
        return _bounded(low, high)
    if isinstance(text := element.get("valueString"), str):
        return number_in_text(text)
    return None


NUMBER = r"(\d[\d,]*(?:\.\d+)?|\d*\.\d+)"
POWER = re.compile(r"\b10 ?(?:\^|\*|\*\*) ?(\d{1,2})\b")
RANGE = re.compile(NUMBER + r" ?(?:-|–|—|to) ?" + NUMBER)
BOUND = re.compile(
    r"(>=|<=|≥|≤|>|<|greater than or equal to|greater than|more than|over|at least"
    r"|less than or equal to|less than|fewer than|under|up to) ?(?:or = ?)?" + NUMBER
)
UPPER = frozenset({">=", ">", "≥", "greater than or equal to", "greater than", "more than"})
UPPER |= {"over", "at least"}


def number_in_text(text: str) -> Interval | None:
    """Return the number, bound or range that a text begins with or holds.

    `5-10 /HPF` is 5 to 10, `>100,000` is 100,000 or more, `none seen` is 0, `TNTC` (too numerous
    to count) is 100 or more.
    """
    text = POWER.sub(lambda match: str(10 ** int(match.group(1))), " ".join(text.lower().split()))
    if UNUSABLE.search(text):
        return None
    if re.search(r"\btntc\b|too numerous", text):
        return Interval(Decimal(100), INFINITY)
    if match := RANGE.search(text):
        return _bounded(_decimal(match.group(1)), _decimal(match.group(2)))
    if match := BOUND.search(text):
        limit = _decimal(match.group(2))
        upper = match.group(1) in UPPER
        return _bounded(limit, None) if upper else _bounded(Decimal(0), limit)
    if match := re.search(NUMBER, text):
        value = _decimal(match.group(1))
        return None if value is None else Interval.exactly(value)
    return Interval.exactly(0) if NEGATIVE.search(text) else None


SYSTEMS: Mapping[str, str] = {
    "urn:oid:2.16.840.1.113883.6.1": "http://loinc.org",
    "urn:oid:2.16.840.1.113883.6.96": "http://snomed.info/sct",
    "urn:oid:2.16.840.1.113883.6.90": "http://hl7.org/fhir/sid/icd-10-cm",
    "urn:oid:2.16.840.1.113883.6.3": "http://hl7.org/fhir/sid/icd-10",
    "https://loinc.org": "http://loinc.org",
    "https://snomed.info/sct": "http://snomed.info/sct",
}
SEMANTIC_TAG = re.compile(r"\s*\((finding|disorder|observable entity|situation)\)$")


def codes(concept: object) -> list[tuple[str, str]]:
    """Return the (system, code) pairs of a CodeableConcept, systems by their FHIR name."""
    if not isinstance(concept, Mapping):
        return []
    return [
        (_system(coding), str(coding.get("code", "")))
        for coding in concept.get("coding") or []
        if isinstance(coding, Mapping)
    ]


def _system(coding: Mapping[str, Any]) -> str:
    written = str(coding.get("system", "")).rstrip("/")
    return SYSTEMS.get(written, written)


def plain_text(text: str) -> str:
    """Return a name as it is compared: lower case, single spaces, no SNOMED CT semantic tag."""
    return SEMANTIC_TAG.sub("", " ".join(text.lower().split()))


def texts(concept: object) -> list[str]:
    """Return the text and displays of a CodeableConcept."""
    if not isinstance(concept, Mapping):
        return []
    displays = [coding.get("display") for coding in concept.get("coding") or []]
    return [text for text in (concept.get("text"), *displays) if isinstance(text, str)]


def _coded_presence(concept: object, trace_is_positive: bool) -> Truth:
    found = {code for _, code in codes(concept)}
    if found & TRACE_CODES:
        return trace_is_positive
    if found & POSITIVE_CODES:
        return True
    if found & NEGATIVE_CODES:
        return False
    said = (presence_in_text(text, trace_is_positive=trace_is_positive) for text in texts(concept))
    return next((truth for truth in said if truth is not None), None)


def _measured_presence(element: Element) -> Truth:
    """Compare a number with the laboratory's range; without one only 0 and grades are clear."""
    if isinstance(grade := element.get("valueInteger"), int) and not isinstance(grade, bool):
        return grade > 0
    quantity = element.get("valueQuantity")
    text = element.get("valueString")
    if isinstance(quantity, Mapping):
        value = _interval(_decimal(quantity.get("value")), str(quantity.get("comparator", "")))
    elif isinstance(text, str) and re.search(r"\d", text):
        value = number_in_text(text)
    else:
        return None
    limit = _upper_limit(element.get("referenceRange") or [])
    if value is None:
        return None
    if limit is not None:
        return value.more_than(limit)
    return False if value.high == 0 else None


def _upper_limit(ranges: Sequence[Mapping[str, Any]]) -> Decimal | None:
    for entry in ranges:
        high = _decimal((entry.get("high") or {}).get("value"))
        if high is not None:
            return high
        text = entry.get("text")
        bounds = number_in_text(text) if isinstance(text, str) else None
        if bounds is not None and bounds.high != INFINITY:
            return bounds.high
    return None


def _flagged(element: Element) -> Truth:
    """Read the interpretation flag, the last resort."""
    flags: Iterable[object] = element.get("interpretation") or []
    found = {code for flag in flags for _, code in codes(flag)}
    if found & POSITIVE_CODES:
        return True
    return False if found & NEGATIVE_CODES else None


def _is_unusable(element: Element) -> bool:
    said = [element.get("valueString"), *texts(element.get("valueCodeableConcept"))]
    return any(isinstance(text, str) and UNUSABLE.search(text.lower()) for text in said)


UNITS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    # target unit: {unit as written, lower case: (scale, offset)}
    "Cel": {
        **dict.fromkeys(("cel", "c", "°c", "degc", "deg c", "celsius"), ("1", "0")),
        **dict.fromkeys(("[degf]", "f", "°f", "degf", "deg f", "fahrenheit"), ("5/9", "-32")),
    },
    "10*3/uL": {
        **dict.fromkeys(
            ("10*3/ul", "10*9/l", "10^3/ul", "10^9/l", "k/ul", "x10e3/ul", "thousand/ul"),
            ("1", "0"),
        ),
        **dict.fromkeys(("/ul", "{cells}/ul", "cells/ul", "/mm3", "cells/mm3"), ("1/1000", "0")),
    },
}


def _quantity(quantity: Mapping[str, Any], unit: str) -> Interval | None:
    value = _decimal(quantity.get("value"))
    if value is None:
        return None
    scale, offset = Decimal(1), Decimal(0)
    if table := UNITS.get(unit):
        written = [str(quantity.get(key, "")).strip().lower() for key in ("code", "unit")]
        named = [text for text in written if text]
        factor = next((table[text] for text in named if text in table), None)
        if factor is None and named:
            return None
        if factor is not None:
            above, _, below = factor[0].partition("/")
            scale = Decimal(above) / Decimal(below or "1")
            offset = Decimal(factor[1])
    converted = ((value + offset) * scale).quantize(Decimal("0.0001")).normalize()
    return _interval(converted, str(quantity.get("comparator", "")))


def _interval(value: Decimal | None, comparator: str) -> Interval | None:
    if value is None:
        return None
    if comparator.startswith(">"):
        return _bounded(value, None)
    return _bounded(Decimal(0), value) if comparator.startswith("<") else Interval.exactly(value)


def _bounded(low: Decimal | None, high: Decimal | None) -> Interval | None:
    if low is None and high is None:
        return None
    bottom = Decimal(0) if low is None else low
    top = INFINITY if high is None else high
    return Interval(bottom, top) if bottom <= top else None


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        number = Decimal(str(value).replace(",", ""))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
