"""Whose result is this? Medical record number, date of birth and name must agree with one Patient.

Never a guess, never a new Patient: what does not match goes to a person as a Task. A record number
is looked up among the Patients' identifiers and, because orders placed here carry it, as their id.
"""

import re
import unicodedata
from dataclasses import dataclass

from assets.sdk import Context, StoredResource

from .messages import PatientIdentity, PersonName

_FHIR_ID = re.compile(r"^[A-Za-z0-9\-._]{1,64}$")


@dataclass(frozen=True, slots=True)
class Match:
    """The Patient, or why there is none: `no_record_number not_found mismatch ambiguous`."""

    patient: StoredResource | None
    reason: str = ""
    candidates: tuple[str, ...] = ()


def match_patient(context: Context, identity: PatientIdentity) -> Match:
    """Return the one Patient that record number, birth date and name agree on."""
    if not identity.numbers:
        return Match(None, "no_record_number")
    found: dict[str, StoredResource] = {}
    for number, _, _ in identity.numbers:
        for candidate in _candidates(context, number):
            found.setdefault(candidate.id, candidate)
    if not found:
        return Match(None, "not_found")
    agreeing = [item for item in found.values() if agrees(item.resource, identity)]
    if len(agreeing) == 1:
        return Match(agreeing[0])
    names = tuple(item.reference for item in (agreeing or found.values()))
    return Match(None, "ambiguous" if agreeing else "mismatch", names)


def _candidates(context: Context, number: str) -> list[StoredResource]:
    escaped = re.sub(r"([\\,$|])", r"\\\1", number)
    found = context.fhir.search("Patient", {"identifier": escaped}, limit=10)
    if _FHIR_ID.match(number):
        named = context.fhir.find("Patient", number)
        found += [] if named is None else [named]
    return found


def agrees(patient: dict[str, object], identity: PatientIdentity) -> bool:
    """Whether birth date and one of the Patient's names agree with the PID."""
    if not identity.birth_date or patient.get("birthDate") != identity.birth_date:
        return False
    names = patient.get("name")
    return isinstance(names, list) and any(
        isinstance(name, dict) and _same_name(name, identity.name) for name in names
    )


def _same_name(name: dict[str, object], other: PersonName) -> bool:
    given = name.get("given")
    first = str(given[0]) if isinstance(given, list) and given else ""
    if not _plain(other.family) or _plain(str(name.get("family", ""))) != _plain(other.family):
        return False
    return bool(_plain(first)) and _plain(first) == _plain(other.given)


def _plain(text: str) -> str:
    """Return a name without case, accents, spaces and punctuation."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(character for character in decomposed if character.isalnum()).casefold()
