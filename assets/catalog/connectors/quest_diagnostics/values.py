"""OBX-5 to Observation.value[x]: the parsed form, and always the text that the lab wrote. Pure.

Laboratories send numbers as text (`<10`, `>100,000 CFU/mL`), words (`POSITIVE`, `TNP`), structured
numerics (SN) and codes; HL7 v2.5.1 chapter 2A, FHIR v2-to-FHIR OBX map.
"""

import re

from assets.sdk import Resource

from .codes import concept
from .messages import Coded, ResultLine, fhir_datetime

RAW_VALUE = "https://healthcloud.dev/fhir/StructureDefinition/reported-value"
_ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
_UCUM = "http://unitsofmeasure.org"
_NUMBER = re.compile(
    r"^\s*(?P<comparator><=|>=|<|>|< OR =|> OR =)?\s*"
    r"(?P<value>[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*(?P<unit>[A-Za-z/%].*)?$",
    re.IGNORECASE,
)
_NOT_PERFORMED = frozenset({"TNP", "QNS", "DNR", "NOT PERFORMED", "TEST NOT PERFORMED"})
_UNITS = {"/HPF": "/[HPF]", "/LPF": "/[LPF]", "CFU/ML": "[CFU]/mL"}


def result_value(line: ResultLine) -> Resource:
    """Return the `value[x]`, or `dataAbsentReason`, and components of one result line."""
    if line.status in ("X", "N"):
        return _absent("not-performed", "Not Performed")
    if not line.values and not line.components:
        return _absent("unknown", "Unknown")
    if len(line.values) > 1 and line.value_type in ("NM", "SN", "DT", "TS", "DTM"):
        return _text(line)
    match line.value_type:
        case "NM":
            return _number(line)
        case "SN":
            return _structured_numeric(line)
        case "CE" | "CWE" | "CNE":
            return {"valueCodeableConcept": _coded(line)}
        case "DT" | "TS" | "DTM":
            moment = fhir_datetime(line.values[0])
            return {"valueDateTime": moment} if moment else _text(line)
        case _:
            return _text(line)


def quantity(text: str, unit: Coded) -> Resource | None:
    """Return the Quantity that `text` states (`<10`, `>100,000 CFU/mL`, `40`), or None."""
    match = _NUMBER.match(text)
    if match is None:
        return None
    digits = match["value"].replace(",", "").lstrip("+")
    result: Resource = {"value": float(digits) if "." in digits else int(digits)}
    comparator = (match["comparator"] or "").upper().replace(" OR ", "")
    if comparator:
        result["comparator"] = comparator
    name = unit.key or (match["unit"] or "").strip()
    if name:
        result["unit"] = unit.text or name
        code = _UNITS.get(name.upper())
        if code or unit.system.upper() == "UCUM":
            result |= {"system": _UCUM, "code": code or name}
    return result


def _number(line: ResultLine) -> Resource:
    parsed = quantity(line.values[0], line.units)
    return {"valueQuantity": parsed} if parsed else _text(line)


def _text(line: ResultLine) -> Resource:
    text = "\n".join(line.values)
    if not text.strip():
        return _absent("unknown", "Unknown")
    if text.upper() in _NOT_PERFORMED:
        return _absent("not-performed", "Not Performed", text)
    parsed = quantity(text, line.units) if _states_number(text) else None
    if parsed is None:
        return {"valueString": text}
    return {"valueQuantity": parsed, "extension": [{"url": RAW_VALUE, "valueString": text}]}


def _states_number(text: str) -> bool:
    """Whether a text is a number: alone, with a comparator, or with a unit (not `3+`, `5 seen`)."""
    match = _NUMBER.match(text)
    if match is None:
        return False
    unit = match["unit"] or ""
    return bool(match["comparator"]) or not unit or "/" in unit or "%" in unit


def _structured_numeric(line: ResultLine) -> Resource:
    """Return an SN: `<^10` a Quantity, `^1^-^5` a Range, `^1^:^64` a Ratio."""
    comparator, first, separator, second = line.components[0][:4]
    low = quantity(first, line.units)
    high = quantity(second, line.units) if second else None
    if low is None:
        return {"valueString": "".join(line.components[0][:4]) or "unknown"}
    if separator == "-" and high is not None:
        return {"valueRange": {"low": low, "high": high}}
    if separator in (":", "/") and high is not None:
        return {"valueRatio": {"numerator": low, "denominator": high}}
    if comparator in ("<", "<=", ">", ">="):
        low["comparator"] = comparator
    return {"valueQuantity": low}


def _coded(line: ResultLine) -> Resource:
    merged: Resource = {}
    for parts in line.components:
        item = concept(Coded(*(" ".join(part.split()) for part in parts)))
        merged.setdefault("coding", []).extend(item.get("coding", []))
        merged.setdefault("text", item.get("text", ""))
    return {name: value for name, value in merged.items() if value}


def _absent(code: str, display: str, text: str = "") -> Resource:
    reason: Resource = {"coding": [{"system": _ABSENT, "code": code, "display": display}]}
    if text:
        reason["text"] = text
    return {"dataAbsentReason": reason}
