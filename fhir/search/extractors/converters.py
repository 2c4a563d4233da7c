"""Turns FHIR datatypes into search values; the compiled extractors call these.

Every converter takes the JSON value, the codes of the parameters that want it, and the list to
append to. Values have passed validation, so their shapes are those of the definitions.
"""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

from fhir.definitions import is_resource_type
from fhir.instants import EARLIEST, LATEST, date_range
from fhir.search.extractors.values import (
    Date,
    Number,
    Position,
    Quantity,
    Reference,
    String,
    Token,
    TypedIdentifier,
    Uri,
)

Params = tuple[str, ...]
Json = Any  # a parsed JSON value, whose shape the definitions give
Converter = Callable[[Json, Params, list[Any]], None]

_CURRENCIES = "urn:iso:std:iso:4217"
_TYPE_AND_ID = re.compile(
    r"(?:^|/)([A-Z][A-Za-z]+)/([A-Za-z0-9\-._]{1,64})(?:/_history/([A-Za-z0-9\-._]{1,64}))?$"
)


def token_coding(value: Json, params: Params, out: list[Token]) -> None:
    """Coding: system, code, display."""
    code = value.get("code")
    text = value.get("display")
    if code is None and text is None:
        return
    system = value.get("system")
    for param in params:
        out.append(Token(param, system, code, text))


def token_concept(value: Json, params: Params, out: list[Token]) -> None:
    """CodeableConcept: every coding, and the text for `:text`."""
    for coding in value.get("coding", ()):
        code = coding.get("code")
        text = coding.get("display")
        if code is None and text is None:
            continue
        system = coding.get("system")
        for param in params:
            out.append(Token(param, system, code, text))
    text = value.get("text")
    if text is not None:
        for param in params:
            out.append(Token(param, None, None, text))


def token_codes(value: Json, params: Params, out: list[Token]) -> None:
    """CodeableConcept: its codings that have a code."""
    for coding in value.get("coding", ()):
        code = coding.get("code")
        if code is not None:
            for param in params:
                out.append(Token(param, coding.get("system"), code, coding.get("display")))


def token_identifier(value: Json, params: Params, out: list[Token]) -> None:
    """Identifier: system and value; the text of its type for `:text`."""
    code = value.get("value")
    kind = value.get("type")
    text = kind.get("text") if kind is not None else None
    system = value.get("system")
    for param in params:
        out.append(Token(param, system, code, text))


def typed_identifier(value: Json, params: Params, out: list[TypedIdentifier]) -> None:
    """Identifier: its type's codings with its value, for `:of-type`."""
    kind = value.get("type")
    code = value.get("value")
    if kind is None or code is None:
        return
    for coding in kind.get("coding", ()):
        if "code" in coding:
            for param in params:
                out.append(TypedIdentifier(param, coding.get("system"), coding["code"], code))


def token_contact_point(value: Json, params: Params, out: list[Token]) -> None:
    """ContactPoint: its value, with no system and with `phone`, `email` … as the system."""
    code = value.get("value")
    if code is None:
        return
    system = value.get("system")
    for param in params:
        out.append(Token(param, None, code))
        if system is not None:
            out.append(Token(param, system, code))


def token_plain(value: Json, params: Params, out: list[Token]) -> None:
    """A string, uri or id: a code without a system."""
    for param in params:
        out.append(Token(param, None, value))


def token_boolean(value: Json, params: Params, out: list[Token]) -> None:
    """A boolean: `true` or `false`."""
    for param in params:
        out.append(Token(param, None, "true" if value else "false"))


def token_present(value: Json, params: Params, out: list[Token]) -> None:
    """Patient.deceased[x]: a date of death says true, as a true boolean does."""
    for param in params:
        out.append(Token(param, None, "false" if value is False else "true"))


def string_plain(value: Json, params: Params, out: list[String]) -> None:
    """A string or markdown."""
    for param in params:
        out.append(String(param, value))


def string_name(value: Json, params: Params, out: list[String]) -> None:
    """HumanName: every part. https://hl7.org/fhir/R4/search.html#string"""
    _string_parts(value, params, out, ("family", "text"), ("given", "prefix", "suffix"))


def string_address(value: Json, params: Params, out: list[String]) -> None:
    """Address: every part that is text."""
    singles = ("text", "city", "district", "state", "postalCode", "country")
    _string_parts(value, params, out, singles, ("line",))


def _string_parts(
    value: Json, params: Params, out: list[String], singles: Params, many: Params
) -> None:
    for key in singles:
        text = value.get(key)
        if text is not None:
            for param in params:
                out.append(String(param, text))
    for key in many:
        for text in value.get(key, ()):
            if text is not None:
                for param in params:
                    out.append(String(param, text))


def string_concept(value: Json, params: Params, out: list[String]) -> None:
    """CodeableConcept searched as a string: its text and displays."""
    texts = [value.get("text"), *(coding.get("display") for coding in value.get("coding", ()))]
    for text in texts:
        if text is not None:
            for param in params:
                out.append(String(param, text))


def date_plain(value: Json, params: Params, out: list[Date]) -> None:
    """date, dateTime, instant."""
    low, high = date_range(value)
    for param in params:
        out.append(Date(param, low, high))


def period_range(value: Json) -> tuple[datetime, datetime]:
    """Answer the instants of a Period; an absent end is open."""
    start, end = value.get("start"), value.get("end")
    low = EARLIEST if start is None else date_range(start)[0]
    return low, LATEST if end is None else date_range(end)[1]


def date_period(value: Json, params: Params, out: list[Date]) -> None:
    """Period: from the start of its start to the end of its end."""
    if "start" not in value and "end" not in value:
        return
    low, high = period_range(value)
    for param in params:
        out.append(Date(param, low, high))


def date_timing(value: Json, params: Params, out: list[Date]) -> None:
    """Timing: only the outer limits count."""
    ranges = [date_range(event) for event in value.get("event", ()) if event is not None]
    bounds = value.get("repeat", {}).get("boundsPeriod")
    if bounds is not None:
        ranges.append(period_range(bounds))
    if ranges:
        low, high = min(low for low, _ in ranges), max(high for _, high in ranges)
        for param in params:
            out.append(Date(param, low, high))


def decimal(value: Json) -> Decimal:
    """Answer a JSON number without binary rounding."""
    return value if isinstance(value, Decimal) else Decimal(str(value))


def quantity_plain(value: Json, params: Params, out: list[Quantity]) -> None:
    """Quantity, Age, Duration, Count, Distance."""
    if "value" not in value:
        return
    number = decimal(value["value"])
    comparator = value.get("comparator")
    exact = number if comparator is None else None
    is_open = comparator in {"<", ">"}
    low = None if comparator in {"<", "<="} else number
    high = None if comparator in {">", ">="} else number
    system, code, unit = value.get("system"), value.get("code"), value.get("unit")
    for param in params:
        out.append(Quantity(param, exact, low, high, system, code, unit, is_open))


def quantity_money(value: Json, params: Params, out: list[Quantity]) -> None:
    """Money: the currency is the unit."""
    if "value" not in value:
        return
    number = decimal(value["value"])
    currency = value.get("currency")
    system = None if currency is None else _CURRENCIES
    for param in params:
        out.append(Quantity(param, number, number, number, system, currency, currency))


def quantity_range(value: Json, params: Params, out: list[Quantity]) -> None:
    """Range: from low to high."""
    _quantity_bounds(value.get("low"), value.get("high"), params, out)


def quantity_sampled(value: Json, params: Params, out: list[Quantity]) -> None:
    """SampledData: between its detection limits, in the unit of its origin."""
    origin = value.get("origin", {})
    limits = [
        {**origin, "value": value[key]} if key in value else None
        for key in ("lowerLimit", "upperLimit")
    ]
    _quantity_bounds(limits[0], limits[1], params, out)


def _quantity_bounds(low: Json, high: Json, params: Params, out: list[Quantity]) -> None:
    unit = low or high
    if not unit:
        return
    bounds = [
        decimal(bound["value"]) if bound and "value" in bound else None for bound in (low, high)
    ]
    if bounds == [None, None]:
        return
    for param in params:
        out.append(
            Quantity(
                *(param, None, bounds[0], bounds[1]),
                *(unit.get("system"), unit.get("code"), unit.get("unit")),
            )
        )


def number_plain(value: Json, params: Params, out: list[Number]) -> None:
    """decimal, integer, positiveInt, unsignedInt."""
    number = decimal(value)
    for param in params:
        out.append(Number(param, number, number, number))


def number_range(value: Json, params: Params, out: list[Number]) -> None:
    """Range searched as a number."""
    bounds = [
        decimal(value[key]["value"]) if "value" in value.get(key, ()) else None
        for key in ("low", "high")
    ]
    for param in params:
        out.append(Number(param, None, bounds[0], bounds[1]))


def split_reference(text: str) -> tuple[str | None, str | None, str | None, str | None]:
    """Answer (type, id, version, absolute url) of a literal reference.

    `Patient/1/_history/2` → Patient, 1, 2, None; an absolute url keeps itself as the fourth
    and has type and id where it ends in them; `#contained` and others have neither.
    """
    kind, slash, id_ = text.partition("/")
    if slash and "/" not in id_ and is_resource_type(kind):
        return kind, id_, None, None
    found = _TYPE_AND_ID.search(text)
    is_absolute = ":" in text
    if found is None or not is_resource_type(found[1]):
        return None, None, None, text if is_absolute else None
    if not is_absolute and found.start() > 0:
        return None, None, None, None
    return found[1], found[2], found[3], text if is_absolute else None


def reference_plain(value: Json, params: Params, out: list[Reference]) -> None:
    """Reference: what it says literally, logically, and its display."""
    literal = value.get("reference")
    kind = id_ = version = url = None
    if literal is not None and not literal.startswith("#"):
        kind, id_, version, url = split_reference(literal)
    if kind is None:
        kind = value.get("type")
    identifier = value.get("identifier")
    system = code = None
    if identifier is not None:
        system, code = identifier.get("system"), identifier.get("value")
    text = value.get("display")
    for param in params:
        out.append(Reference(param, kind, id_, version, url, system, code, text))


def reference_canonical(value: Json, params: Params, out: list[Reference]) -> None:
    """canonical or uri: `url|version`."""
    if value.startswith("#"):
        return
    url, _, version = value.partition("|")
    kind, id_, _, absolute = split_reference(url)
    for param in params:
        out.append(Reference(param, kind, id_, version or None, absolute or url))


def reference_inline(value: Json, params: Params, out: list[Reference]) -> None:
    """A resource that stands in place (Bundle.entry.resource)."""
    if "id" in value:
        for param in params:
            out.append(Reference(param, value.get("resourceType"), value["id"]))


def uri_plain(value: Json, params: Params, out: list[Uri]) -> None:
    """uri, url, canonical, oid, uuid."""
    for param in params:
        out.append(Uri(param, value))


def position(value: Json, params: Params, out: list[Position]) -> None:
    """Location.position."""
    if "latitude" in value and "longitude" in value:
        for param in params:
            out.append(Position(param, float(value["latitude"]), float(value["longitude"])))


def refers_to(value: Json, target: str, resource: Json) -> bool:
    """Say whether `resolve() is target` holds, by what the reference says.

    A fragment is looked up among the contained resources.
    """
    literal = value.get("reference")
    if literal is None:
        return bool(value.get("type") == target)
    if literal.startswith(target) and literal[len(target) : len(target) + 1] == "/":
        return True
    if literal.startswith("#"):
        return any(
            entry.get("id") == literal[1:] and entry.get("resourceType") == target
            for entry in resource.get("contained", ())
        )
    kind = split_reference(literal)[0]
    return bool((value.get("type") if kind is None else kind) == target)
