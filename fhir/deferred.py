"""Batches and transactions that are done later: `Prefer: respond-async`.

https://hl7.org/fhir/R4/async.html. What is written is written in one transaction with the end of
the job; its output is the Bundle of answers, one line of JSON.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from fhir import jobs
from fhir.api.entries import EntryCalls
from fhir.api.outcomes import outcome_of
from fhir.documents import JsonObject, ParsedResource, instant, parse
from fhir.interactions.batch import batch
from fhir.interactions.bundle import Answer, Entry, changed_by, response_bundle
from fhir.interactions.provenance import read_provenance, record_provenance
from fhir.interactions.transaction import transaction
from healthcloud.actors import Actor
from healthcloud.api.errors import describe
from healthcloud.api.principal import Principal, ProjectReference
from healthcloud.tenancy.scope import active_scope

KIND: Final = "bundle"


def defer(
    *,
    bundle: ParsedResource,
    wish: str,
    base: str,
    scopes: Iterable[str],
    actor: Actor,
    now: datetime,
    provenance: str | None = None,
) -> jobs.Job:
    """Ask for a batch or transaction to be done, and return the job.

    The caller has made sure that every entry is allowed; `scopes` are what it takes to see the
    answers, `wish` what they hold (as `Prefer: return` has it),
    `provenance` the header X-Provenance.
    """
    request: JsonObject = {
        "bundle": bundle.text.decode(),
        "wish": wish,
        "provenance": provenance,
        "base": base,
        "time": instant(now),
    }
    return jobs.start(kind=KIND, request=request, scopes=sorted(scopes), actor=actor, now=now)


@jobs.register(KIND)
def answer_bundle(job: jobs.Job, now: datetime) -> jobs.Step:
    """Do the entries; a transaction that fails ends the job with its OperationOutcome."""
    bundle = parse(job.request["bundle"])
    kind = str(bundle.data.get("type"))
    calls = EntryCalls(_caller(job), now, str(job.request["base"]))
    if kind == "transaction":
        answers = transaction(bundle=bundle, actor=job.actor, now=now, operate=calls)
    else:
        answers = batch(
            bundle=bundle,
            actor=job.actor,
            now=now,
            failed=_failed,
            permit=_permit,
            operate=calls,
        )
    _record_provenance(job, changed_by(answers), now)
    _write_output(job, kind, answers)
    address, base = str(job.request["base"]), f"{job.request['base']}/_jobs/{job.id}"
    return jobs.Finished(
        {
            "transactionTime": job.request["time"],
            "request": address,
            "requiresAccessToken": True,
            "output": [{"type": "Bundle", "url": f"{base}/0", "count": len(answers)}],
            "error": [],
        }
    )


def _write_output(job: jobs.Job, kind: str, answers: list[Answer]) -> None:
    body = response_bundle(f"{kind}-response", answers, wish=str(job.request["wish"]))
    line = msgspec.json.format(body, indent=-1)
    jobs.add_file(job.id, role="output", type="Bundle", count=len(answers), content=line + b"\n")


def _record_provenance(job: jobs.Job, references: list[str], now: datetime) -> None:
    header = job.request.get("provenance")
    if header and references:
        record_provenance(
            provenance=read_provenance(header), references=references, actor=job.actor, now=now
        )


def _failed(error: Exception) -> tuple[int, JsonObject]:
    description = describe(error)
    code = getattr(error, "issue_code", None)
    return description.status, outcome_of(description, issue_code=code)


def _caller(job: jobs.Job) -> Principal:
    """Return who asked for the job, with what they held then."""
    scope = active_scope()
    return Principal(
        actor=job.actor,
        organization_id=scope.organization_id,
        environment=scope.environment,
        environment_id=scope.environment_id,
        schema=scope.schema,
        project=ProjectReference(str(scope.project_id), scope.project_number or 0),
        scopes=frozenset(job.scopes),
    )


def _permit(entry: Entry) -> None:
    """All entries were allowed when the job was asked for."""
