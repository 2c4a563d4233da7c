"""HL7 v2 ORU^R01 as Quest sends it, parsed into small value objects; and the ACK. Pure.

HL7 v2.5.1 chapters 2 (encoding, escapes), 7 (observation reporting). Segment order of a result:
`MSH PID [PV1] {[ORC] OBR [NTE] {OBX [NTE]} [SPM]}`.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone

import hl7

MAXIMUM_CHARACTERS = 12_000_000
MAXIMUM_SEGMENTS = 20_000
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")  # no FHIR string has them
_SPACES = re.compile(r"\s+")
_TIMESTAMP = re.compile(
    r"^(?P<date>\d{4}(?:\d{2}){0,2})(?P<time>\d{2}\d{2}(?:\d{2})?)?(?:\.\d{1,4})?(?P<zone>[+-]\d{4})?$"
)


class MessageError(Exception):
    """An HL7 message that can't be used; the text goes into the negative acknowledgement."""


@dataclass(frozen=True, slots=True)
class Coded:
    """A CE/CWE: `5799-2^LEUKOCYTE ESTERASE^LN^50055000^…^L`, also `^^^5463^URINALYSIS`."""

    code: str
    text: str
    system: str
    other_code: str = ""
    other_text: str = ""
    other_system: str = ""

    @property
    def key(self) -> str:
        """The first code that there is."""
        return self.code or self.other_code


@dataclass(frozen=True, slots=True)
class PersonName:
    """An XCN, XPN or PN."""

    family: str
    given: str
    identifier: str = ""
    authority: str = ""


@dataclass(frozen=True, slots=True)
class PatientIdentity:
    """What the PID says about who this is. `numbers` are (value, assigner, type)."""

    numbers: tuple[tuple[str, str, str], ...]
    name: PersonName
    birth_date: str
    sex: str


@dataclass(frozen=True, slots=True)
class Specimen:
    """An SPM, or the specimen source of OBR-15."""

    type: Coded
    collected: str
    identifier: str = ""


@dataclass(slots=True)
class ResultLine:
    """One observation: an OBX, or several that carry one text."""

    value_type: str
    code: Coded
    sub_id: str
    values: list[str]
    components: list[list[str]]
    units: Coded
    reference_range: str
    flags: tuple[str, ...]
    status: str
    observed_at: str
    performer: Coded
    method: Coded
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ReportGroup:
    """An OBR with its observations."""

    placer: str
    filler: str
    code: Coded
    status: str
    collected: str
    reported_at: str
    section: str
    orderer: PersonName
    notes: list[str] = field(default_factory=list)
    lines: list[ResultLine] = field(default_factory=list)
    specimen: Specimen | None = None


@dataclass(frozen=True, slots=True)
class OruMessage:
    """A result message."""

    control_id: str
    sent_at: str
    sending_application: str
    sending_facility: str
    patient: PatientIdentity
    groups: tuple[ReportGroup, ...]


def parse_oru(text: str) -> OruMessage:
    """Return the result message in `text`; raise MessageError with what is unusable."""
    message = _parse(text)
    header = message[0]
    kind = f"{_get(header, 9, 1)}^{_get(header, 9, 2)}"
    if kind != "ORU^R01":
        raise MessageError(f"MSH-9 is {kind}; expected ORU^R01")
    control_id = _get(header, 10)
    if not control_id:
        raise MessageError("MSH-10 (message control id) is empty")
    patients = [segment for segment in message if _name(segment) == "PID"]
    if len(patients) != 1:
        raise MessageError(f"{len(patients)} PID segments; expected one")
    groups = _groups(message)
    if not groups:
        raise MessageError("no OBR segment")
    return OruMessage(
        control_id=control_id,
        sent_at=_get(header, 7),
        sending_application=_get(header, 3),
        sending_facility=_get(header, 4),
        patient=_identity(patients[0]),
        groups=tuple(groups),
    )


def control_id_of(text: str) -> str:
    """Return MSH-10 of any message, or an empty text when even that can't be read."""
    try:
        return _get(_parse(text)[0], 10)
    except MessageError:
        return ""


def acknowledgement(*, control_id: str, code: str, reason: str, now: datetime) -> str:
    """Return the ACK (MSH and MSA) for a message: CA/AA accepted, AE/CE rejected with a reason."""
    stamp = now.strftime("%Y%m%d%H%M%S")
    escaped = reason.replace("\\", "\\E\\").replace("|", "\\F\\").replace("^", "\\S\\")
    escaped = escaped.replace("&", "\\T\\").replace("~", "\\R\\").replace("\r", " ")
    header = f"MSH|^~\\&|HEALTHCLOUD||QUEST||{stamp}||ACK|{control_id[:190]}A|P|2.5.1"
    return f"{header}\rMSA|{code}|{control_id}|{escaped[:80]}\r"


def fhir_datetime(stamp: str) -> str | None:
    """Return an HL7 timestamp as a FHIR dateTime of the same precision, or None if it is none.

    A time without zone is taken as UTC: Quanum sends none, and FHIR demands one with a time.
    """
    match = _TIMESTAMP.match(stamp.strip())
    if match is None:
        return None
    day, time, zone = match["date"], match["time"], match["zone"]
    if time is None or len(day) < 8:
        return _checked_date(day)
    try:
        moment = datetime.strptime(day + time.ljust(6, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return None
    return moment.replace(tzinfo=_zone(zone)).isoformat().replace("+00:00", "Z")


def _checked_date(digits: str) -> str | None:
    """Return `2026`, `2026-11` or `2026-11-22`; None when there is no such day."""
    parts = [digits[:4], digits[4:6] or "01", digits[6:8] or "01"]
    try:
        date(*(int(part) for part in parts))
    except ValueError:
        return None
    return "-".join(parts)[: {4: 4, 6: 7, 8: 10}[len(digits)]]


def _zone(text: str | None) -> timezone:
    if not text or text[1:] == "0000":
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[3:5]))
    return timezone(-offset if text[0] == "-" else offset)


# --- segments --------------------------------------------------------------------------------


def _parse(text: str) -> hl7.Message:
    if len(text) > MAXIMUM_CHARACTERS:
        raise MessageError(f"longer than {MAXIMUM_CHARACTERS} characters")
    lines = re.split(r"[\r\n]+", text.strip("\x0b\x1c\r\n\t "))
    if len(lines) > MAXIMUM_SEGMENTS:
        raise MessageError(f"more than {MAXIMUM_SEGMENTS} segments")
    if not lines[0].startswith("MSH") or len(lines[0]) < 9:
        raise MessageError("does not begin with MSH")
    try:
        return hl7.parse("\r".join(line for line in lines if line.strip()))
    except (hl7.HL7Exception, ValueError, IndexError, KeyError, AssertionError) as error:
        raise MessageError("is not HL7 v2") from error


def _name(segment: hl7.Segment) -> str:
    return str(segment[0])


def _get(
    segment: hl7.Segment, number: int, component: int = 1, *, repetition: int = 1, sub: int = 1
) -> str:
    """Return a field's text, unescaped; empty when it isn't there."""
    try:
        value = segment.extract_field(1, number, repetition, component, sub)
    except (IndexError, KeyError):
        return ""
    text = _CONTROL.sub("", str(value).replace("\r", "\n")).strip()
    return "" if text == '""' else text


def _repetitions(segment: hl7.Segment, number: int) -> int:
    return len(segment[number]) if number < len(segment) else 0


def _coded(segment: hl7.Segment, number: int) -> Coded:
    parts = [_get(segment, number, component) for component in range(1, 7)]
    for code in (0, 3):  # FHIR codes have single spaces only
        parts[code] = _SPACES.sub(" ", parts[code])
    return Coded(*parts)


def _person(segment: hl7.Segment, number: int) -> PersonName:
    return PersonName(
        identifier=_get(segment, number, 1),
        family=_get(segment, number, 2),
        given=_get(segment, number, 3),
        authority=_get(segment, number, 9) or _get(segment, number, 13),
    )


def _identity(pid: hl7.Segment) -> PatientIdentity:
    numbers = [
        (
            _get(pid, 3, 1, repetition=repetition),
            _get(pid, 3, 4, repetition=repetition),
            _get(pid, 3, 5, repetition=repetition) or "MR",
        )
        for repetition in range(1, _repetitions(pid, 3) + 1)
    ]
    if _get(pid, 2):
        numbers.append((_get(pid, 2), "", "MR"))
    birth = _get(pid, 7)[:8]
    return PatientIdentity(
        numbers=tuple(dict.fromkeys(number for number in numbers if number[0])),
        name=PersonName(family=_get(pid, 5, 1), given=_get(pid, 5, 2)),
        birth_date=(_checked_date(birth) or "") if len(birth) == 8 and birth.isdigit() else "",
        sex=_get(pid, 8),
    )


def _groups(message: hl7.Message) -> list[ReportGroup]:
    groups: list[ReportGroup] = []
    order = ("", "")
    last: ResultLine | None = None
    for segment in message:
        match _name(segment):
            case "ORC":
                order = (_get(segment, 2), _get(segment, 3))
            case "OBR":
                groups.append(_group(segment, order))
                order, last = ("", ""), None
            case "OBX" if groups:
                last = _add_line(groups[-1], _line(segment))
            case "NTE" if groups:
                notes = last.notes if last is not None else groups[-1].notes
                notes.append(_note(segment))
            case "SPM" if groups:
                groups[-1].specimen = _specimen(segment)
    return groups


def _group(obr: hl7.Segment, order: tuple[str, str]) -> ReportGroup:
    source = Coded("", _get(obr, 15, 1, sub=2) or _get(obr, 15), "")
    collected = _get(obr, 7)
    group = ReportGroup(
        placer=_get(obr, 2) or order[0],
        filler=_get(obr, 3) or order[1],
        code=_coded(obr, 4),
        status=_get(obr, 25) or "F",
        collected=collected,
        reported_at=_get(obr, 22),
        section=_get(obr, 24),
        orderer=_person(obr, 16),
        specimen=Specimen(source, collected) if source.text else None,
    )
    if not group.filler:
        raise MessageError("OBR-3 (filler order number) is empty")
    if not group.code.key:
        raise MessageError("OBR-4 (universal service identifier) is empty")
    return group


def _line(obx: hl7.Segment) -> ResultLine:
    repetitions = range(1, _repetitions(obx, 5) + 1)
    components = [
        [_get(obx, 5, component, repetition=repetition) for component in range(1, 7)]
        for repetition in repetitions
    ]
    code = _coded(obx, 3)
    if not code.key:
        raise MessageError("OBX-3 (observation identifier) is empty")
    flags = tuple(_get(obx, 8, repetition=r) for r in range(1, _repetitions(obx, 8) + 1))
    if _get(obx, 2) == "ED" and not all(_is_base64(parts[4]) for parts in components):
        raise MessageError("OBX-5 (encapsulated data) is not base64")
    return ResultLine(
        value_type=_get(obx, 2),
        code=code,
        sub_id=_get(obx, 4),
        values=[parts[0] for parts in components if any(parts)],
        components=[parts for parts in components if any(parts)],
        units=_coded(obx, 6),
        reference_range=_get(obx, 7),
        flags=tuple(flag for flag in flags if flag),
        status=_get(obx, 11) or "F",
        observed_at=_get(obx, 14),
        performer=_coded(obx, 23) if _get(obx, 23) else _coded(obx, 15),
        method=_coded(obx, 17),
    )


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(_SPACES.sub("", text), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _add_line(group: ReportGroup, line: ResultLine) -> ResultLine:
    """Add a line, or append its text to the one before when it goes on (same code, text type)."""
    before = group.lines[-1] if group.lines else None
    goes_on = (
        before is not None
        and before.code == line.code
        and before.sub_id == line.sub_id
        and {before.value_type, line.value_type} <= {"TX", "FT", "ST"}
        and not before.notes
    )
    if before is not None and goes_on:
        before.values.extend(line.values)
        return before
    group.lines.append(line)
    return line


def _note(nte: hl7.Segment) -> str:
    texts = [_get(nte, 3, repetition=r) for r in range(1, _repetitions(nte, 3) + 1)]
    return "\n".join(text for text in texts if text)


def _specimen(spm: hl7.Segment) -> Specimen:
    return Specimen(
        type=_coded(spm, 4),
        collected=_get(spm, 17),
        identifier=_get(spm, 2, 1, sub=1),
    )
