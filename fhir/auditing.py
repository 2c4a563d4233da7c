"""Every write of clinical data is in the trail: who wrote which resources, in the same transaction.

The trail holds ids and versions, never content. A bundle is one row for each 500 resources.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fhir.definitions import type_name
from fhir.rows import NewVersion
from healthcloud.actors import Actor
from healthcloud.audit.services import Note, record

_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_ROW: Final = 500


def note_of(version: NewVersion, *, now: datetime) -> Note:
    """Return what the writing statement adds to the trail with the row of one version."""
    return Note(
        number=version.key,
        action=f"fhir.{_VERBS[version.method]}",
        target_type=type_name(version.type_number),
        target_id=version.rid,
        details={"version": version.version},
        now=now,
    )


def record_writes(versions: Sequence[NewVersion], *, actor: Actor, now: datetime) -> None:
    """Add several written versions to the trail of the active tenant."""
    for start in range(0, len(versions), _ROW):  # of nothing, nothing
        part = versions[start : start + _ROW]
        record(
            actor=actor,
            action="fhir.write",
            target_type="Bundle",
            target_id=f"{len(part)} resources",
            now=now,
            details=_by_verb(part),
        )


def _by_verb(versions: Sequence[NewVersion]) -> dict[str, list[str]]:
    """Return the versioned references under the verb that made each."""
    found: dict[str, list[str]] = {}
    for version in versions:
        reference = f"{type_name(version.type_number)}/{version.rid}/_history/{version.version}"
        found.setdefault(_VERBS[version.method], []).append(reference)
    return found
