"""Dead letters of a project: the work that was given up, brought back or thrown away by a person.

The ledger lives in the public schema, the trail in the tenant's: each function leaves the
tenant's role for its look into the ledger, in the same transaction.
"""

from datetime import datetime

from healthcloud.actors import Actor
from healthcloud.audit import services as audit
from healthcloud.ledger import queries, services
from healthcloud.ledger.models import DueWork
from healthcloud.tenancy.scope import Scope, active_scope, public_scope


def find(letter_id: int) -> DueWork:
    """Return a dead letter of the scope; raise DeadLetterNotFound."""
    scope = active_scope()
    with public_scope():
        rows = queries.dead_letters_of(scope)
        letter = rows.filter(id=letter_id).first()
    if letter is None:
        raise services.DeadLetterNotFound(letter_id)
    return letter


def replay(*, letter_id: int, actor: Actor, now: datetime) -> DueWork:
    """Make the work due again, with all its attempts; raise DeadLetterNotFound, AlreadyQueued."""
    letter = find(letter_id)
    with public_scope():
        services.replay(work_id=letter.id, environment_id=letter.environment_id)
    _note("dead_letter.replay", letter, actor, now)
    return letter


def discard(*, letter_id: int, actor: Actor, now: datetime) -> DueWork:
    """Throw the work away for good; raise DeadLetterNotFound."""
    letter = find(letter_id)
    with public_scope():
        services.discard(work_id=letter.id, environment_id=letter.environment_id)
    _note("dead_letter.discard", letter, actor, now)
    return letter


def as_dict(letter: DueWork, scope: Scope) -> dict[str, object]:
    """Return the JSON form of a dead letter: what it is about, and why it was given up."""
    return {
        "id": letter.id,
        "object": "dead_letter",
        "kind": letter.kind,
        "ref": letter.ref,
        "queue": letter.queue,
        "attempts": letter.attempts,
        "error": letter.last_error or None,
        "created_at": letter.created_at.isoformat().replace("+00:00", "Z"),
        "organization_id": scope.organization_id,
        "project_id": letter.project_id,
        "environment": scope.environment,
    }


def _note(action: str, letter: DueWork, actor: Actor, now: datetime) -> None:
    audit.record(
        actor=actor,
        action=action,
        target_type="dead_letter",
        target_id=str(letter.id),
        now=now,
        details={"kind": letter.kind, "ref": letter.ref, "error": letter.last_error},
        project_id=letter.project_id,
    )
