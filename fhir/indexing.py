"""From what a resource says to the rows that searches find it by."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from fhir import hashes
from fhir.definitions import search_parameters
from fhir.documents import JsonObject
from fhir.index_rows import (
    IndexRows,
    date_row,
    microseconds,
    number_row,
    position_row,
    quantity_row,
    string_row,
)
from fhir.search.extractors import (
    Composite,
    Date,
    Extracted,
    Extractor,
    Number,
    Quantity,
    Reference,
    String,
    Token,
    Uri,
    extract,
)
from fhir.search.extractors.values import Value

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


def index_resource(
    resource_type: str, rid: str, data: JsonObject, custom: Extractor | None = None
) -> IndexRows:
    """Return the index rows of a resource; `custom` extracts by parameters of the project's own."""
    found = extract(data)
    if custom is not None:
        _add(found, custom(data))
    rows = IndexRows()
    salts = _Salts(resource_type)
    _index_tokens(rows, resource_type, found, salts)
    _index_ordered(rows, found, salts)
    for composite in found.composites:
        _index_composite(rows, composite, salts[composite.param])
    rows.tokens.update([salt ^ hashes.PRESENT for salt in salts.values()])
    for inner in data.get("contained", ()):
        rows.tokens.add(hashes.contains(inner["resourceType"]))
    rows.patient = _promoted_patient(resource_type, rid, found)
    primary = primary_date(resource_type)
    lows = [date for date in found.dates if date.param == primary]
    if lows:
        rows.date_low = min(microseconds(date.low) for date in lows)
        rows.date_high = max(microseconds(date.high) for date in lows)
    return rows


class _Salts(dict[str, int]):
    """The numbers of the parameters of a type that were asked for: those that have a value."""

    def __init__(self, resource_type: str) -> None:
        super().__init__()
        self.resource_type = resource_type

    def __missing__(self, code: str) -> int:
        salt = self[code] = hashes.param_salt(self.resource_type, code)
        return salt


def _add(found: Extracted, more: Extracted) -> None:
    for name in found.__struct_fields__:
        getattr(found, name).extend(getattr(more, name))


def _index_tokens(
    rows: IndexRows, resource_type: str, found: Extracted, salts: dict[str, int]
) -> None:
    add = rows.tokens.add
    texts: dict[tuple[str, str], None] = {}
    values: Iterable[Token | Reference | Uri] = (*found.tokens, *found.references, *found.uris)
    for value in values:
        salt = salts[value.param]
        for form in token_forms(value):
            add(salt ^ form)
        if isinstance(value, Uri):
            rows.strings.append(string_row(salt, value.value, fold_it=False))
        elif value.text:
            texts[value.param, value.text] = None
    for typed in found.identifiers:
        form = hashes.of_type(typed.type_system or "", typed.type_code, typed.value)
        add(form ^ salts[typed.param])
    for param, text in texts:
        rows.strings.append(string_row(hashes.param_salt(resource_type, param + TEXT), text))


def _index_ordered(rows: IndexRows, found: Extracted, salts: dict[str, int]) -> None:
    for string in dict.fromkeys(found.strings):
        rows.strings.append(string_row(salts[string.param], string.value))
    for date in found.dates:
        rows.dates.append(date_row(salts[date.param], date))
    for quantity in found.quantities:
        rows.quantities.append(quantity_row(salts[quantity.param], quantity))
    for number in found.numbers:
        rows.quantities.append(number_row(salts[number.param], number.low, number.high))
    for position in found.positions:
        rows.quantities.append(position_row(salts[position.param], position))


def _index_composite(rows: IndexRows, composite: Composite, salt: int) -> None:
    """Hash the parts that are tokens into the parameter; the ordered part stays a row."""
    params = [salt]
    ordered: list[Value] = []
    for position, part in enumerate(composite.components):
        if isinstance(part, Token | Reference | Uri):
            forms = token_forms(part)
            params = [param ^ component_hash(position, form) for param in params for form in forms]
        else:
            ordered.append(part)
    if not ordered:
        rows.tokens.update(params)
    elif len(ordered) == 1:
        for param in params:
            _add_ordered(rows, param, ordered[0])
    elif all(isinstance(part, Number) for part in ordered):
        start, end = (part for part in ordered if isinstance(part, Number))
        for param in params:
            rows.quantities.append(number_row(param, start.low, end.high))


def _add_ordered(rows: IndexRows, param: int, value: Value) -> None:
    if isinstance(value, Quantity):
        rows.quantities.append(quantity_row(param, value))
    elif isinstance(value, Number):
        rows.quantities.append(number_row(param, value.low, value.high))
    elif isinstance(value, Date):
        rows.dates.append(date_row(param, value))
    elif isinstance(value, String):
        rows.strings.append(string_row(param, value.value))


@lru_cache(maxsize=16384)
def component_hash(position: int, form: int) -> int:
    """Return the hash of a token in its place among a composite's components."""
    return hashes.hash64(f"{position}:{form}")


def token_forms(value: Token | Reference | Uri) -> Sequence[int]:
    """Return the hash of every form in which a search may name the value."""
    if isinstance(value, Token):
        return () if value.code is None else _coded_forms(value.system or "", value.code)
    if isinstance(value, Reference):
        return _reference_forms(value)
    url, bar, _ = value.value.partition("|")
    forms = [hashes.uri(value.value)]
    return [*forms, hashes.uri(url)] if bar else forms  # found by its url alone too


@lru_cache(maxsize=16384)
def _coded_forms(system: str, code: str) -> tuple[int, ...]:
    """Return the forms of a token; most codes come again and again."""
    forms = (hashes.token_exact(system, code), hashes.token_code(code))
    return (*forms, hashes.token_system(system)) if system else forms


def _reference_forms(value: Reference) -> Sequence[int]:
    forms: list[int] = []
    if value.url is not None and not value.url.startswith(own_bases()):
        forms.append(hashes.uri(value.url))
        if value.version:
            forms.append(hashes.uri(f"{value.url}|{value.version}"))
    elif value.type is not None and value.id is not None:
        forms.append(hashes.self_hash(value.type, value.id))
        if value.version:
            version = f"{value.type}/{value.id}/_history/{value.version}"
            forms.append(hashes.hash64(version))
    if value.identifier_value is not None:
        named = value.identifier_value
        forms.append(hashes.identifier_exact(value.identifier_system or "", named))
        forms.append(hashes.identifier_value(named))
    return forms


@lru_cache(maxsize=1)
def own_base() -> str:
    """Return the address under which this server's resources have absolute references."""
    return f"{settings.BASE_URL}/v1/fhir/"


@lru_cache(maxsize=1)
def own_bases() -> tuple[str, ...]:
    """Return all addresses at which clients may have found this server: of each host it answers to.

    What names a resource by `localhost` means the same one as by 127.0.0.1.
    """
    base = urlsplit(settings.BASE_URL)
    hosts = [host for host in settings.ALLOWED_HOSTS if host.strip("*.") == host]
    port = f":{base.port}" if base.port else ""
    named = [f"{base.scheme}://{host}{end}/v1/fhir/" for host in hosts for end in {port, ""}]
    return (own_base(), *named)


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
        if reference.id and (reference.url is None or reference.url.startswith(own_bases()))
    }
    return hashes.self_hash("Patient", patients.pop()) if len(patients) == 1 else None
