"""The rows of jobs and their files in the active tenant."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import orjson

from fhir.documents import JsonObject, is_id
from fhir.errors import ResourceNotFound
from fhir.sql import Row, fetch
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import active_project

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: Final = frozenset({"done", "failed", "cancelled"})

_COLUMNS: Final = (
    "id, kind, state, created, updated, expires, actor, scopes, request, position, progress,"
    " status, result"
)
_FIND: Final = f"SELECT {_COLUMNS} FROM fhir_job WHERE project = %s::integer AND id = %s::text"
_INSERT: Final = (
    "INSERT INTO fhir_job (id, project, kind, state, created, updated, expires, actor, scopes,"
    " request, position) VALUES (%s::text, %s::integer, %s::text, 'queued', %s::timestamptz,"
    " %s::timestamptz, %s::timestamptz, %s::text, %s::text, %s::text, %s::text)"
)
_MOVE: Final = (
    "UPDATE fhir_job SET state = %s::text, position = %s::text, progress = %s::text,"
    " status = %s::integer, result = %s::text, updated = %s::timestamptz WHERE id = %s::text"
)
_ADD_FILE: Final = (
    "INSERT INTO fhir_job_file (job, project, number, count, role, type, content)"
    " SELECT %s::text, %s::integer, coalesce(max(number) + 1, 0), %s::integer, %s::text,"
    " %s::text, %s::text FROM fhir_job_file WHERE job = %s::text"
)
_FILES: Final = (
    "SELECT number, count, role, type FROM fhir_job_file"
    " WHERE project = %s::integer AND job = %s::text ORDER BY number"
)
_CONTENT: Final = (
    "SELECT content FROM fhir_job_file WHERE project = %s::integer AND job = %s::text"
    " AND number = %s::integer"
)
_DELETE: Final = "DELETE FROM fhir_job WHERE project = %s::integer AND id = %s::text"
_EMPTY: Final = "DELETE FROM fhir_job_file WHERE project = %s::integer AND job = %s::text"


@dataclass(frozen=True, slots=True)
class Job:
    """A job: who asked for what, how far it is, and what came of it."""

    id: str
    kind: str
    state: str
    created: datetime
    updated: datetime
    expires: datetime
    actor: Actor
    scopes: tuple[str, ...]
    request: JsonObject
    position: JsonObject
    progress: str
    status: int
    result: JsonObject | None
    prepared: object = None

    @property
    def is_ended(self) -> bool:
        """Tell whether nothing will happen to the job any more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class File:
    """A part of the output; `role` is `output`, `deleted` or `error`."""

    number: int
    count: int
    role: str
    type: str


def insert(job: Job) -> None:
    """Write a new job."""
    _, project = active_project()
    texts = [_dump(job.actor.as_dict()), _dump(list(job.scopes)), _dump(job.request)]
    moments = [job.created, job.updated, job.expires]
    fetch(_INSERT, [job.id, project, job.kind, *moments, *texts, _dump(job.position)])


def find(job_id: str, *, lock: bool = False) -> Job | None:
    """Return a job of the project, locked when asked, None where there is none."""
    _, project = active_project()
    if not is_id(job_id):
        return None
    rows = fetch(_FIND + (" FOR UPDATE" if lock else ""), (project, job_id))
    return _job(rows[0]) if rows else None


def require(job_id: str) -> Job:
    """Return a job that is not cancelled; raise ResourceNotFound."""
    found = find(job_id)
    if found is None or found.state == "cancelled":
        raise ResourceNotFound("_jobs", job_id)
    return found


def move(job: Job, *, now: datetime) -> None:
    """Write how far a job is."""
    result = None if job.result is None else _dump(job.result)
    position = _dump(job.position)
    fetch(_MOVE, [job.state, position, job.progress, job.status, result, now, job.id])


def delete(job_id: str) -> None:
    """Delete a job and its files."""
    _, project = active_project()
    fetch(_DELETE, (project, job_id))


def empty(job_id: str) -> None:
    """Delete the files of a job."""
    _, project = active_project()
    fetch(_EMPTY, (project, job_id))


def add_file(job_id: str, *, role: str, type: str, count: int, content: bytes) -> None:
    """Add a part of the output."""
    _, project = active_project()
    text = content.decode()
    fetch(_ADD_FILE, [job_id, project, count, role, type, text, job_id])


def files(job_id: str) -> list[File]:
    """Return the parts of the output without their content."""
    _, project = active_project()
    return [
        File(number, count, role.decode(), kind.decode())
        for number, count, role, kind in fetch(_FILES, (project, job_id))
    ]


def file_content(job_id: str, number: int) -> bytes | None:
    """Return the content of a part, None where there is none."""
    _, project = active_project()
    rows = fetch(_CONTENT, (project, job_id, number))
    return bytes(rows[0][0]) if rows else None


def _dump(value: object) -> str:
    return orjson.dumps(value).decode()


def _job(row: Row) -> Job:
    id, kind, state, created, updated, expires, actor, scopes, request, position, *rest = row
    progress, status, result = rest
    return Job(
        id=id.decode(),
        kind=kind.decode(),
        state=state.decode(),
        created=created,
        updated=updated,
        expires=expires,
        actor=Actor(**orjson.loads(actor)),
        scopes=tuple(orjson.loads(scopes)),
        request=orjson.loads(request),
        position=orjson.loads(position),
        progress=progress.decode(),
        status=status,
        result=None if result is None else orjson.loads(result),
    )
