"""From what a resource says to the rows that searches find it by."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

from django.conf import settings

from fhir import hashes
from fhir.definitions import search_parameters
from fhir.documents import JsonObject
from fhir.search.extractors import (
    Composite,
    Date,
    Extracted,
    Number,
    Quantity,
    Reference,
    String,
    Token,
    Uri,
    extract,
    fold,
)
from fhir.search.extractors.values import Value

NO_DATE: Final = -(2**63)
FOLDED_LENGTH: Final = 256
TEXT: Final = ":text"
# The first of these that a type has is its promoted date: what `_sort=-date` and lists go by.
PRIMARY_DATES: Final = (
    *("authoredon", "date", "authored-on", "onset-date", "effective-time", "effective"),
    *("occurrence", "started", "collected", "period", "authored", "created", "issued", "recorded"),
    *("birthdate", "recorded-date", "sent", "whenhandedover"),
)
# Here `patient` or `subject` may name several, so that the promoted column can't answer for them.
MANY_PATIENTS: Final = frozenset(
    {
        *("Account", "Appointment", "AuditEvent", "Contract", "Group", "Person", "Provenance"),
        *("Schedule", "MedicinalProductContraindication", "MedicinalProductIndication"),
        *("MedicinalProductInteraction", "MedicinalProductPackaged"),
        "MedicinalProductUndesirableEffect",
    }
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class DateRow:
    """A range of time in microseconds since 1970, `high` exclusive."""

    param: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class QuantityRow:
    """A number or quantity; open bounds are infinite, absent units 0."""

    param: int
    low: float
    high: float
    unit: int = 0
    code: int = 0
    printed: int = 0


@dataclass(frozen=True, slots=True)
class StringRow:
    """A text, folded for comparison without case and accents, and as it came."""

    param: int
    folded: str
    exact: str


@dataclass(slots=True)
class IndexRows:
    """All that is indexed of one resource; empty for a deleted one."""

    tokens: set[int] = field(default_factory=set)
    dates: list[DateRow] = field(default_factory=list)
    quantities: list[QuantityRow] = field(default_factory=list)
    strings: list[StringRow] = field(default_factory=list)
    patient: int | None = None
    date_low: int = NO_DATE
    date_high: int = NO_DATE


def index_resource(resource_type: str, rid: str, data: JsonObject) -> IndexRows:
    """Return the index rows of a resource."""
    found = extract(data)
    rows = IndexRows()
    salts = {code: hashes.param_salt(resource_type, code) for code in found.present()}
    rows.tokens.update(salt ^ hashes.hash64(hashes.PRESENT) for salt in salts.values())
    _index_tokens(rows, resource_type, found, salts)
    _index_ordered(rows, found, salts)
    for composite in found.composites:
        _index_composite(rows, composite, salts[composite.param])
    rows.patient = _promoted_patient(resource_type, rid, found)
    primary = primary_date(resource_type)
    lows = [date for date in found.dates if date.param == primary]
    if lows:
        rows.date_low = min(microseconds(date.low) for date in lows)
        rows.date_high = max(microseconds(date.high) for date in lows)
    return rows


def _index_tokens(
    rows: IndexRows, resource_type: str, found: Extracted, salts: dict[str, int]
) -> None:
    add = rows.tokens.add
    texts: dict[tuple[str, str], None] = {}
    values: Iterable[Token | Reference | Uri] = (*found.tokens, *found.references, *found.uris)
    for value in values:
        salt = salts[value.param]
        for form in token_forms(value):
            add(form ^ salt)
        if isinstance(value, Uri):
            rows.strings.append(_string_row(salt, value.value, fold_it=False))
        elif value.text and not value.param.startswith("combo-"):
            texts[value.param, value.text] = None
    for typed in found.identifiers:
        form = hashes.of_type(typed.type_system or "", typed.type_code, typed.value)
        add(form ^ salts[typed.param])
    for param, text in texts:
        rows.strings.append(_string_row(hashes.param_salt(resource_type, param + TEXT), text))


def _index_ordered(rows: IndexRows, found: Extracted, salts: dict[str, int]) -> None:
    for string in dict.fromkeys(found.strings):
        rows.strings.append(_string_row(salts[string.param], string.value))
    for date in found.dates:
        rows.dates.append(_date_row(salts[date.param], date))
    for quantity in found.quantities:
        rows.quantities.append(_quantity_row(salts[quantity.param], quantity))
    for number in found.numbers:
        rows.quantities.append(_number_row(salts[number.param], number))


def _index_composite(rows: IndexRows, composite: Composite, salt: int) -> None:
    """Hash the parts that are tokens into the parameter; the ordered part stays a row."""
    params = [salt]
    ordered: list[Value] = []
    for position, part in enumerate(composite.components):
        if isinstance(part, Token | Reference | Uri):
            forms = list(token_forms(part))
            params = [param ^ component_hash(position, form) for param in params for form in forms]
        else:
            ordered.append(part)
    if not ordered:
        rows.tokens.update(params)
    elif len(ordered) == 1:
        for param in params:
            _add_ordered(rows, param, ordered[0])


def _add_ordered(rows: IndexRows, param: int, value: Value) -> None:
    if isinstance(value, Quantity):
        rows.quantities.append(_quantity_row(param, value))
    elif isinstance(value, Number):
        rows.quantities.append(_number_row(param, value))
    elif isinstance(value, Date):
        rows.dates.append(_date_row(param, value))
    elif isinstance(value, String):
        rows.strings.append(_string_row(param, value.value))


def component_hash(position: int, form: int) -> int:
    """Return the hash of a token in its place among a composite's components."""
    return hashes.hash64(f"{position}:{form}")


def token_forms(value: Token | Reference | Uri) -> Iterator[int]:
    """Yield the hash of every form in which a search may name the value."""
    if isinstance(value, Token):
        if value.code is not None:
            yield hashes.token_exact(value.system or "", value.code)
            yield hashes.token_code(value.code)
            if value.system:
                yield hashes.token_system(value.system)
    elif isinstance(value, Uri):
        yield hashes.uri(value.value)
    else:
        yield from _reference_forms(value)


def _reference_forms(value: Reference) -> Iterator[int]:
    if value.url is not None and not value.url.startswith(own_base()):
        yield hashes.hash64(value.url)
        if value.version:
            yield hashes.hash64(f"{value.url}|{value.version}")
    elif value.type is not None and value.id is not None:
        yield hashes.self_hash(value.type, value.id)
        if value.version:
            yield hashes.hash64(f"{value.type}/{value.id}/_history/{value.version}")
    if value.identifier_value is not None:
        yield hashes.identifier_exact(value.identifier_system or "", value.identifier_value)
        yield hashes.identifier_value(value.identifier_value)


@lru_cache(maxsize=1)
def own_base() -> str:
    """Return the address under which this server's resources have absolute references."""
    return f"{settings.BASE_URL}/v1/fhir/"


@lru_cache(maxsize=256)
def primary_date(resource_type: str) -> str:
    """Return the code of the type's promoted date parameter, or an empty string."""
    known = search_parameters(resource_type)
    for code in PRIMARY_DATES:
        if code in known and known[code].type == "date":
            return code
    return ""


def _promoted_patient(resource_type: str, rid: str, found: Extracted) -> int | None:
    if resource_type == "Patient":
        return hashes.self_hash(resource_type, rid)
    patients = {
        reference.id
        for reference in found.references
        if reference.type == "Patient" and reference.param in {"patient", "subject"}
        if reference.id and (reference.url is None or reference.url.startswith(own_base()))
    }
    return hashes.self_hash("Patient", patients.pop()) if len(patients) == 1 else None


def microseconds(moment: datetime) -> int:
    """Return the microseconds between 1970 and a moment."""
    return (moment - _EPOCH) // _MICROSECOND


def _date_row(param: int, date: Date) -> DateRow:
    return DateRow(param, microseconds(date.low), microseconds(date.high))


def _number_row(param: int, number: Number) -> QuantityRow:
    return QuantityRow(param, *_bounds(number.low, number.high))


def _quantity_row(param: int, quantity: Quantity) -> QuantityRow:
    low, high = _bounds(quantity.low, quantity.high)
    code, system, printed = quantity.code, quantity.system, quantity.unit
    return QuantityRow(
        *(param, low, high),
        unit=hashes.unit_exact(system, code) if system and code else 0,
        code=hashes.unit_code(code) if code else 0,
        printed=hashes.unit_code(printed) if printed else 0,
    )


def _bounds(low: Decimal | None, high: Decimal | None) -> tuple[float, float]:
    return (
        float("-inf") if low is None else float(low),
        float("inf") if high is None else float(high),
    )


def _string_row(param: int, value: str, *, fold_it: bool = True) -> StringRow:
    """PostgreSQL's text can't hold the NUL character, which JSON may escape."""
    exact = value.replace("\0", "")
    folded = fold(exact) if fold_it else exact
    return StringRow(param, folded[:FOLDED_LENGTH], exact)
