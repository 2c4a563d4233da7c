"""The row of a run: how it begins, as statements for one group, and how it is found by its id."""

import json
from typing import Any, Final

from django.db import connection

from healthcloud.tenancy.pipeline import Statement
from healthcloud.tenancy.scope import execute
from workflows.models import Run
from workflows.step_rows import as_json

_INSERT: Final = """
INSERT INTO workflows_run (
    id, project_id, workflow_id, version_id, slug, number, status, trigger, trigger_kind, input,
    output, error, actor, patient, metadata, idempotency_key, token, parent, parent_lane, depth,
    limit_key, held, deadline_at, restarts, size, resume_at, created_at, started_at, finished_at)
SELECT %s::text, %s::text, %s::text, %s::text, %s::text, %s::integer, %s::text, %s::jsonb, %s::text,
       %s::jsonb, %s::jsonb, %s::jsonb, %s::jsonb, %s::text, %s::jsonb, %s::text, 0, %s::text,
       %s::text, %s::integer, %s::text, %s::boolean, %s::timestamptz, 0, %s::bigint, NULL,
       %s::timestamptz, %s::timestamptz, %s::timestamptz"""
_HELD: Final = """
WITH placed AS ({}) SELECT public.must_hold((SELECT count(*) FROM placed))"""
_ONCE: Final = """
ON CONFLICT (workflow_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING"""
_FIELDS: Final = tuple(field.attname for field in Run._meta.concrete_fields)
_JSON: Final = frozenset({"trigger", "input", "output", "error", "actor", "metadata"})
_COLUMNS: Final = ", ".join(f"{name}::text" if name in _JSON else name for name in _FIELDS)
_FIND: Final = "SELECT {} FROM workflows_run WHERE id = %s"


def find(run_id: str) -> Run | None:
    """Return a run by its id, in the round trip that begins the transaction and with one plan."""
    for row in execute([Statement(_FIND.format(_COLUMNS), (run_id,), prepare=True)])[0]:
        values = [_value(*named) for named in zip(_FIELDS, row, strict=True)]
        return Run.from_db(connection.alias, _FIELDS, values)
    return None


def _value(name: str, value: Any) -> Any:  # noqa: ANN401  # a column's
    if not isinstance(value, bytes):
        return value
    return json.loads(value) if name in _JSON else value.decode()


def inserting(run: Run, source: Statement) -> Statement:
    """Return the insert of a run; unless `source` has a row, the transaction fails."""
    placed = f"{_INSERT} {source.sql} RETURNING 1"
    return Statement(_HELD.format(placed), (*_values(run), *source.params), prepare=True)


def inserting_once(run: Run) -> Statement:
    """Return the insert of a run that answers no row where its key was used before."""
    return Statement(f"{_INSERT} {_ONCE} RETURNING 1", _values(run), prepare=True)


def _values(run: Run) -> list[object]:
    return [
        run.id,
        run.project_id,
        run.workflow_id,
        run.version_id,
        run.slug,
        run.number,
        run.status,
        as_json(run.trigger),
        run.trigger_kind,
        as_json(run.input),
        as_json(run.output),
        as_json(run.error),
        as_json(run.actor),
        run.patient,
        as_json(run.metadata),
        run.idempotency_key,
        run.parent,
        run.parent_lane,
        run.depth,
        run.limit_key,
        run.held,
        run.deadline_at,
        run.size,
        run.created_at,
        run.started_at,
        run.finished_at,
    ]
