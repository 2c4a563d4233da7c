"""The trail of reads: one compact row for each access, in the transaction of the access.

What is written stands in the platform's audit trail (`fhir.auditing`); a read writes nothing else,
so its row must cost little: one statement, one index, and a commit that does not wait for the
disk. The row survives the death of every process of ours; only a crash of the database server
itself can lose the last moments. https://profiles.ihe.net/ITI/BALP/
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from fhir.sql import Statement, fetch_all
from healthcloud.actors import Actor

Outcome = Literal["success", "denied", "failure"]
MAX_QUERY: Final = 2000
_INSERT: Final = (
    "INSERT INTO fhir_access (at, project, interaction, outcome, rtype, rid, query, purpose,"
    " actor_kind, actor_id, actor_label, request_id) SELECT %s::timestamptz, %s::integer,"
    " %s::text, %s::text, %s::text, %s::text, %s::text, %s::text, %s::text, %s::text, %s::text,"
    " %s::text FROM "
)
_RECORD: Final = (
    "WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))"
    f" {_INSERT}quick"
)


@dataclass(frozen=True, slots=True)
class Access:
    """One access: the restful interaction, what it named, and how it ended."""

    interaction: str
    resource_type: str = ""
    id: str = ""
    query: str = ""
    outcome: Outcome = "success"
    purpose: str = ""

    def statement(self, *, project: int, actor: Actor, request_id: str, now: datetime) -> Statement:
        """Return the statement that records the access, to travel with that of the read."""
        params = self._values(project=project, actor=actor, request_id=request_id, now=now)
        return Statement(_RECORD, params, prepare=True)

    def recording(
        self,
        *,
        project: int,
        actor: Actor,
        request_id: str,
        now: datetime,
        source: str = "(SELECT) AS once",
    ) -> Statement:
        """Return a member of a WITH that records the access for the one row of `source`.

        For transactions that don't wait for the disk, as `DirectEntry.is_quick` says.
        """
        params = self._values(project=project, actor=actor, request_id=request_id, now=now)
        return Statement(f"recorded AS ({_INSERT}{source})", params)

    def _values(
        self, *, project: int, actor: Actor, request_id: str, now: datetime
    ) -> tuple[object, ...]:
        return (
            *(now, project, self.interaction, self.outcome, self.resource_type[:64]),
            *(self.id[:128], self.query[:MAX_QUERY], self.purpose[:200]),
            *(actor.kind, actor.id, actor.label[:200], request_id),
        )


def record(access: Access, *, project: int, actor: Actor, request_id: str, now: datetime) -> None:
    """Record an access, inside `tenant_scope`; project 0 where the request names none."""
    fetch_all([access.statement(project=project, actor=actor, request_id=request_id, now=now)])
