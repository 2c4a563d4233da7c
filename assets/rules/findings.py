"""From resources to findings: the newest usable statement of each input, with its source."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from assets.rules import cultures, values
from assets.rules.expressions import Value
from assets.rules.inputs import Input
from assets.rules.intervals import Interval, Truth
from assets.rules.statements import Statement, StatementIndex
from assets.rules.times import age_on, is_current
from assets.sdk import StoredResource

INACTIVE = frozenset({"inactive", "remission", "resolved"})


@dataclass(frozen=True, slots=True)
class Source:
    """The resource version that a finding was read from."""

    reference: str
    version: int
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one input. `note` says why nothing is: `stale`, `unusable`."""

    name: str
    value: Value
    sources: tuple[Source, ...] = ()
    note: str = ""


Reader = Callable[[Input, Sequence[Statement]], tuple[Value, Sequence[Statement]]]


def collect(
    definitions: Mapping[str, Input],
    resources: Sequence[StoredResource],
    *,
    now: datetime,
    parameters: Mapping[str, object] | None = None,
) -> dict[str, Finding]:
    """Return a finding for every input; `parameters` override or supply values by name."""
    index = StatementIndex(resources)
    patient = next((r for r in resources if r.resource_type == "Patient"), None)
    given = parameters or {}
    findings = {}
    for name, definition in definitions.items():
        if name in given:
            findings[name] = Finding(name, as_value(given[name]))
        elif definition.kind == "patient":
            findings[name] = _demographic(definition, patient, now)
        elif definition.kind == "parameter":
            findings[name] = Finding(name, None)
        else:
            findings[name] = _stated(definition, index, now)
    return findings


def as_value(given: object) -> Value:
    """Return a parameter as a finding's value."""
    if given is None or isinstance(given, bool | Interval):
        return given
    return Interval.exactly(str(given))


def _stated(definition: Input, index: StatementIndex, now: datetime) -> Finding:
    statements = index.matching(definition)
    denials = _denials(definition, index)
    current = [s for s in statements if is_current(s.at, now, definition.lookback_days)]
    denied = [s for s in denials if is_current(s.at, now, definition.lookback_days)]
    value, used = READERS[definition.kind](definition, current)
    newest = max((s.at for s in used), default=None)
    newer_denials = [s for s in denied if newest is None or s.at > newest]
    if newer_denials:
        value, used = False, newer_denials[:1]
    note = "" if value is not None else "unusable" if current else "stale" if statements else ""
    sources = {_source(statement): None for statement in used}
    return Finding(definition.name, value, tuple(sources), note)


def _denials(definition: Input, index: StatementIndex) -> list[Statement]:
    """Return the statements that deny a finding without naming it, newest first."""
    absent = [
        s
        for s in index.stating(sorted(definition.absent_codes))
        if _is_asserted(s) and (s.role == "code" or _answers(definition, s))
    ]
    umbrella = index.stating(sorted(definition.umbrella_codes))
    denied = [s for s in umbrella if s.role == "code" and _asserted(definition, s) is False]
    return sorted((*absent, *denied), key=lambda s: s.order, reverse=True)


def _answers(definition: Input, statement: Statement) -> bool:
    """Whether a value answers a question about this finding, not about something else."""
    asked = set(values.codes(statement.element.get("code")))
    return bool(asked & (definition.codes | definition.umbrella_codes))


def _source(statement: Statement) -> Source:
    stored = statement.stored
    return Source(stored.reference, stored.version, statement.at.first)


def _demographic(definition: Input, patient: StoredResource | None, now: datetime) -> Finding:
    if patient is None:
        return Finding(definition.name, None)
    value: Value
    if definition.element == "age":
        value = age_on(patient.resource.get("birthDate"), now)
    else:
        gender = patient.resource.get("gender")
        value = gender == definition.element if gender in {"female", "male"} else None
    source = Source(patient.reference, patient.version, None)
    return Finding(definition.name, value, (source,) if value is not None else ())


def _first_usable(
    statements: Iterable[Statement], read: Callable[[Statement], Value]
) -> tuple[Value, list[Statement]]:
    for statement in statements:
        value = read(statement)
        if value is not None:
            return value, [statement]
    return None, []


def _read_presence(
    definition: Input, statements: Sequence[Statement]
) -> tuple[Value, Sequence[Statement]]:
    return _first_usable(
        (s for s in statements if s.role == "code"),
        lambda s: values.presence(s.element, trace_is_positive=definition.trace_is_positive),
    )


def _read_number(
    definition: Input, statements: Sequence[Statement]
) -> tuple[Value, Sequence[Statement]]:
    return _first_usable(
        (s for s in statements if s.role == "code"),
        lambda s: values.number(s.element, definition.unit),
    )


def _read_condition(
    definition: Input, statements: Sequence[Statement]
) -> tuple[Value, Sequence[Statement]]:
    return _first_usable(statements, lambda s: _asserted(definition, s))


def _read_culture(
    read: Callable[[list[values.Element]], Interval | None],
) -> Reader:
    """Read the newest culture: all its results share one time."""

    def reader(_: Input, statements: Sequence[Statement]) -> tuple[Value, Sequence[Statement]]:
        results = [s for s in statements if s.role == "code" and not _is_provisional(s)]
        for newest in results:
            same = [s for s in results if s.at == newest.at]
            found = read([s.element for s in same])
            if found is not None:
                return found, same
        return None, []

    return reader


def _is_provisional(statement: Statement) -> bool:
    """No growth on a preliminary report is not a result yet."""
    if statement.stored.resource.get("status") != "preliminary":
        return False
    count = cultures.colony_count([statement.element])
    return count is not None and count.high == 0


def _asserted(definition: Input, statement: Statement) -> Truth:
    """Return whether a statement affirms or denies the condition it names."""
    if statement.stored.resource_type == "Condition":
        return _condition_holds(statement)
    if statement.stored.resource_type != "Observation" or statement.role == "value":
        return True
    if not any(key.startswith("value") for key in statement.element):
        has_reason = "dataAbsentReason" in statement.element
        return None if has_reason or _has_parts(statement) else True
    return values.presence(statement.element, trace_is_positive=definition.trace_is_positive)


def _has_parts(statement: Statement) -> bool:
    return bool(statement.element.get("component") or statement.element.get("hasMember"))


def _condition_holds(statement: Statement) -> Truth:
    resource = statement.stored.resource
    verification = {code for _, code in values.codes(resource.get("verificationStatus"))}
    if "refuted" in verification:
        return False
    clinical = {code for _, code in values.codes(resource.get("clinicalStatus"))}
    ended = any(key.startswith("abatement") for key in resource)
    return None if "entered-in-error" in verification or clinical & INACTIVE or ended else True


def _is_asserted(statement: Statement) -> bool:
    if statement.stored.resource_type == "Condition":
        return _condition_holds(statement) is True
    return True


READERS: Mapping[str, Reader] = {
    "presence": _read_presence,
    "number": _read_number,
    "condition": _read_condition,
    "culture_count": _read_culture(cultures.colony_count),
    "culture_species": _read_culture(cultures.species_count),
}
