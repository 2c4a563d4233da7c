"""The import job: lines are fetched, validated and written in batches, errors told by line.

A batch is one transaction that also keeps the place in the input, so that a killed worker loses
the batch it was at and nothing is written twice.
"""

import io
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO, Final, cast

import orjson

from fhir import jobs
from fhir.definitions import type_number
from fhir.documents import MAX_BYTES, JsonObject, ParsedResource, new_id, parse
from fhir.errors import NotSupported
from fhir.hashes import self_hash
from fhir.identity import check_id
from fhir.jobs.table import file_content
from fhir.operations.parameters import InvalidParameter
from fhir.rows import NewVersion, lock_current
from fhir.writing import Write, accept
from healthcloud.api.errors import describe
from healthcloud.errors import Forbidden, HealthCloudError
from healthcloud.http import OutboundError, client

KIND: Final = "import"
BATCH: Final = 500
PART_BYTES: Final = 4 * 1024 * 1024
MAX_DOWNLOAD: Final = 2 * 1024 * 1024 * 1024
_PIECE: Final = 64 * 1024
_TIMEOUT_SECONDS: Final = 300.0


@dataclass(slots=True)
class Batch:
    """What one step does: resources to write and errors of lines."""

    versions: dict[int, NewVersion] = field(default_factory=dict)
    lines: dict[int, int] = field(default_factory=dict)
    errors: list[bytes] = field(default_factory=list)
    stopped_at: int | None = None


def split_lines(stream: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield parts of newline-delimited JSON of a few megabytes each, with their line counts.

    Raises InvalidParameter for a line that is longer than a resource may be.
    """
    rest = b""
    while piece := stream.read(max(PART_BYTES - len(rest), _PIECE)):
        rest += piece
        end = rest.rfind(b"\n") + 1
        if end and len(rest) >= PART_BYTES:
            yield rest.count(b"\n", 0, end), rest[:end]
            rest = rest[end:]
        if len(rest) > MAX_BYTES:
            raise InvalidParameter(
                f"A line has more than {MAX_BYTES} bytes, the limit of a resource.", param="input"
            )
    if rest:
        yield rest.count(b"\n") + (not rest.endswith(b"\n")), rest


def keep_input(job_id: str, content: BinaryIO, *, source: str) -> None:
    """Keep newline-delimited JSON as input of a job; raise InvalidParameter unless it is UTF-8."""
    for count, part in split_lines(content):
        try:
            part.decode()
        except UnicodeDecodeError:
            raise InvalidParameter(f"{source} is not UTF-8.", param="input") from None
        if b"\x00" in part:
            raise InvalidParameter(f"{source} holds the character NUL.", param="input")
        jobs.add_file(job_id, role="input", type=source[:2000], count=count, content=part)


def download(job: jobs.Job) -> object:
    """Fetch the next input into a file, with no transaction open, through the guarded client."""
    waiting: list[JsonObject] = job.request.get("inputs", [])
    at = int(job.position.get("fetched", 0))
    if at >= len(waiting):
        return None
    url = str(waiting[at]["url"])
    door = client(timeout=_TIMEOUT_SECONDS, max_response_bytes=MAX_DOWNLOAD)
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the step that reads it closes it
    try:
        answer = door.download(url, file, headers={"accept": "application/fhir+ndjson, */*"})
    except OutboundError as error:
        file.close()
        raise InvalidParameter(f"{url} can't be fetched: {error}", param="input.url") from None
    if answer.status != 200:
        file.close()
        raise InvalidParameter(f"{url} answers {answer.status}.", param="input.url")
    file.seek(0)
    return file


@jobs.register(KIND, before=download)
def import_lines(job: jobs.Job, now: datetime) -> jobs.Step:
    """Keep the next input, or write the next batch of lines."""
    position = {"fetched": 0, "file": 0, "line": 0, "written": 0, "failed": 0, **job.position}
    inputs: list[JsonObject] = job.request.get("inputs", [])
    if isinstance(job.prepared, io.IOBase) and position["fetched"] < len(inputs):
        source = str(inputs[position["fetched"]]["url"])
        with cast("BinaryIO", job.prepared) as file:
            keep_input(job.id, file, source=source)
        position["fetched"] += 1
        return jobs.Unfinished(position, f"{position['fetched']} of {len(inputs)} inputs fetched")
    parts = [file for file in jobs.files(job.id) if file.role == "input"]
    if position["file"] >= len(parts):
        return jobs.Finished(_manifest(job, position))
    part = parts[position["file"]]
    lines = (file_content(job.id, part.number) or b"").split(b"\n")
    begin = position["line"]
    first = sum(p.count for p in parts[: position["file"]] if p.type == part.type)
    chosen = [(first + n + 1, lines[n]) for n in range(begin, min(begin + BATCH, len(lines)))]
    written, failed, looked_at = _write(job, chosen, source=part.type, now=now)
    position["written"] += written
    position["failed"] += failed
    after = begin + looked_at
    is_last = after >= len(lines)
    position |= {"file": position["file"] + is_last, "line": 0 if is_last else after}
    progress = f"{position['written']} written, {position['failed']} refused"
    return jobs.Unfinished(position, progress)


def _write(
    job: jobs.Job, lines: Sequence[tuple[int, bytes]], *, source: str, now: datetime
) -> tuple[int, int, int]:
    """Write what is valid of some lines, keep the errors.

    Returns how many were written and refused, and how many lines were looked at.
    """
    write = Write.begin(actor=job.actor, now=now)
    batch = Batch()
    accepted = list(_accepted(job, lines, batch, source))
    named = [(type_number(p.resource_type), rid) for _, p, rid in accepted]
    current = lock_current(write.project, named)
    for number, parsed, rid in accepted:
        key = self_hash(parsed.resource_type, rid)
        row = current.get(key)
        batch.versions[key] = write.version_of(parsed, rid=rid, method="PUT", current=row)
        batch.lines[key] = number
    done = write.write(list(batch.versions.values())) if batch.versions else set()
    for key in set(batch.versions) - done:
        batch.errors.append(_error(source, batch.lines[key], "another request wrote it meanwhile"))
    if batch.errors:
        content = b"\n".join(batch.errors) + b"\n"
        jobs.add_file(
            job.id, role="error", type="OperationOutcome", count=len(batch.errors), content=content
        )
    looked_at = len(lines) if batch.stopped_at is None else batch.stopped_at - lines[0][0]
    return len(done), len(batch.errors), looked_at


def _accepted(
    job: jobs.Job, lines: Sequence[tuple[int, bytes]], batch: Batch, source: str
) -> Iterator[tuple[int, ParsedResource, str]]:
    """Yield the lines that are valid resources, with their ids, until an id comes again."""
    types = job.request.get("types")
    seen: set[tuple[str, str]] = set()
    for number, line in lines:
        if not line.strip():
            continue
        try:
            parsed = parse(line)
            if types and parsed.resource_type not in types:
                raise Forbidden(f"{parsed.resource_type} is none of the types of this import.")
            accept(parsed)
            rid = parsed.id or new_id()
            check_id(rid)
        except HealthCloudError as error:
            batch.errors.append(_error(source, number, error))
            continue
        if (parsed.resource_type, rid) in seen:  # its second version is of the next batch
            batch.stopped_at = number
            return
        seen.add((parsed.resource_type, rid))
        yield number, parsed, rid


def _error(source: str, number: int, error: HealthCloudError | str) -> bytes:
    """Return the OperationOutcome of a line."""
    from fhir.api.outcomes import outcome_of

    where = f"Line {number} of {source}: "
    if isinstance(error, str):
        issue = {"severity": "error", "code": "conflict", "diagnostics": where + error}
        return orjson.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
    outcome = outcome_of(describe(error), issue_code=getattr(error, "issue_code", None))
    for issue in outcome["issue"]:
        issue["diagnostics"] = where + str(issue.get("diagnostics", ""))
    return orjson.dumps(outcome)


def _manifest(job: jobs.Job, position: JsonObject) -> JsonObject:
    """Return what the status address answers at the end."""
    base = job.request["base"]
    errors = [file for file in jobs.files(job.id) if file.role == "error"]
    return {
        "transactionTime": job.request["time"],
        "request": job.request["address"],
        "output": [{"type": "Bundle", "count": position["written"]}],
        "error": [
            {
                "type": "OperationOutcome",
                "count": file.count,
                "url": f"{base}/_jobs/{job.id}/{file.number}",
            }
            for file in errors
        ],
    }


def check_format(text: str | None) -> None:
    """Raise NotSupported for another input than newline-delimited JSON."""
    if text is not None and "ndjson" not in text:
        raise NotSupported("The input is newline-delimited JSON: application/fhir+ndjson.")
