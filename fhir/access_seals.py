"""Reads in the hash chain: ranges of their rows are sealed by a row of the audit trail.

A link for each read would cost more than the read. So whenever the chain is extended, what was read
ten minutes ago and before is hashed, and the hash recorded as an audit event, which the chain holds
like any other (`docs/decisions/0023`, 0092): a read that is changed, removed or slipped in later no
longer fits its seal.
"""

import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from fhir.sql import fetch
from healthcloud.actors import SYSTEM
from healthcloud.audit.models import AuditEvent
from healthcloud.audit.services import record

ACTION: Final = "access.seal"
SETTLED: Final = timedelta(minutes=10)  # no transaction that reads lasts as long
BATCH: Final = 5000
MOST: Final = 200_000  # rows under one seal
_SETTLED: Final = "SELECT id FROM fhir_access WHERE at < %s::timestamptz ORDER BY id DESC LIMIT 1"
_ROWS: Final = (
    "SELECT id, json_build_array(id, (extract(epoch FROM at) * 1000000)::bigint, project,"
    " interaction, outcome, rtype, rid, query, purpose, actor_kind, actor_id, actor_label,"
    " request_id)::text FROM fhir_access WHERE id > %s::bigint AND id <= %s::bigint"
    " ORDER BY id LIMIT %s::integer"
)


def seal(*, now: datetime) -> None:
    """Seal what was read since the last seal; inside a scope over all projects of the tenant."""
    newest = AuditEvent.objects.filter(action=ACTION).order_by("-position").first()
    after = int(newest.details["last"]) if newest else 0
    settled = fetch(_SETTLED, (now - SETTLED,))
    if not settled or settled[0][0] <= after:
        return
    last = min(int(settled[0][0]), after + MOST)
    count, digest = _digest(after, last)
    record(
        actor=SYSTEM,
        action=ACTION,
        target_type="fhir_access",
        target_id=f"{after + 1}-{last}",
        details={"after": after, "last": last, "count": count, "sha256": digest},
        now=now,
    )


def broken_seals() -> Iterator[str]:
    """Yield what does not fit its seal any more; inside a scope over all projects."""
    expected = 0
    for event in AuditEvent.objects.filter(action=ACTION).order_by("position").iterator():
        after, last = int(event.details["after"]), int(event.details["last"])
        if after != expected:
            yield f"reads {expected + 1} to {after} are under no seal"
        if _digest(after, last) != (event.details["count"], event.details["sha256"]):
            yield f"reads {after + 1} to {last} were changed"
        expected = last


def _digest(after: int, last: int) -> tuple[int, str]:
    """Return how many rows a range has, and the SHA-256 of them in their order."""
    digest, count, behind = hashlib.sha256(), 0, after
    while rows := fetch(_ROWS, (behind, last, BATCH)):
        for _, text in rows:
            digest.update(bytes(text) + b"\n")
        count, behind = count + len(rows), int(rows[-1][0])
    return count, digest.hexdigest()
