"""Outputs that are reused: the same step of the same workflow, with the same arguments."""

import hashlib
from datetime import datetime, timedelta

from workflows.models import CachedOutput, Run
from workflows.state import Execute
from workflows.stored import encoded


def find(action: Execute, run: Run, now: datetime) -> CachedOutput | None:
    """Return an output that is kept and has not expired."""
    rows = CachedOutput.objects.filter(project_id=run.project_id, key=key_of(action, run))
    return rows.filter(expires_at__gt=now).first()


def keep(action: Execute, run: Run, output: object, now: datetime) -> None:
    """Keep an output for as long as the step says, in the step's transaction."""
    cache = action.step.cache
    if cache is None:
        return
    CachedOutput.objects.update_or_create(
        project_id=run.project_id,
        key=key_of(action, run),
        defaults={"output": output, "expires_at": now + timedelta(seconds=cache.seconds)},
    )


def key_of(action: Execute, run: Run) -> str:
    """Return a digest of what the output depends on."""
    given = action.arguments if action.cache_key is None else action.cache_key
    parts = [run.slug, action.step.id, action.step.kind, given]
    return hashlib.sha256(encoded(parts)).hexdigest()
