"""Run a deployed asset in two phases: `execute` runs package code, `commit` writes what it said.

`execute` calls vendors and reads FHIR with no transaction of the caller's open. `commit` writes
resources, events, run record and receipts in the caller's transaction, so that a workflow step's
effects and its record are one. Connector acknowledgements follow the commit as due work.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from assets import queries
from assets.models import Deployment, Receipt
from assets.runs import begin_run, fail_run, finish_run
from assets.runtime.budgets import SPENT
from assets.runtime.context import CallContext
from assets.runtime.packages import check_call, run_package
from assets.runtime.serving import NotRunning, StillStarting, call_context, serving
from assets.runtime.slots import Produced
from assets.runtime.writing import write_result
from assets.sdk import AssetError, Evidence, Json, Result
from assets.services.trace import write_log
from healthcloud.actors import Actor
from healthcloud.errors import HealthCloudError
from healthcloud.events.services import publish
from healthcloud.identifiers import new_id
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope

ACKNOWLEDGE_KIND = "connector.acknowledge"
ACKNOWLEDGE_QUEUE = "agents"

__all__ = [
    "NotRunning",
    "Outcome",
    "Prepared",
    "StillStarting",
    "abandon",
    "commit",
    "execute",
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a committed call came to. `run_id` names the run record of an agent, else None."""

    output: Json
    evidence: tuple[Evidence, ...] = ()
    resources: tuple[str, ...] = ()
    run_id: str | None = None


@dataclass(slots=True)
class Prepared:
    """What package code proposes, before anything is written."""

    context: CallContext
    kind: str
    action: str | None
    output: Json
    produced: list[Produced] = field(default_factory=list)
    run_id: str | None = None
    duration_ms: int = 0
    parent: Mapping[str, str] | None = None
    done: Outcome | None = None
    """Set when this call was committed before under the same idempotency key."""


def execute(
    *,
    deployment: Deployment | str,
    action: str | None,
    input: Json,
    actor: Actor,
    now: datetime,
    idempotency_key: str,
    scope: Scope | None = None,
    trigger: str = "api",
    parent: Mapping[str, str] | None = None,
) -> Prepared:
    """Run package code and return what it proposes; writes nothing but an agent's run record.

    `deployment` is a Deployment, its id, or the id or alias of an asset deployed in the project;
    `scope` names the project (default: the active one). `parent` is `{"run_id", "step_id"}` of a
    workflow. Call it with no transaction open. Raises NotRunning (409), InputInvalid and
    ActionInvalid (422), DeploymentNotFound (404), and AssetError for what the asset failed at.
    """
    scope = scope or active_scope()
    with tenant_scope(scope):
        found, release = serving(deployment, scope)
        context, collected = call_context(
            found,
            release,
            scope=scope,
            now=now,
            idempotency_key=idempotency_key,
            parent=parent,
        )
        check_call(context, action, input)
        prepared = Prepared(context, context.package.manifest.kind, action, {}, parent=parent)
        if prepared.kind == "agent":
            run = begin_run(context, found, input, actor=actor, trigger=trigger, parent=parent)
            prepared.run_id = context.run_id = run.id
            if run.output is not None:
                prepared.done = Outcome(run.output, (), tuple(run.resources), run.id)
                return prepared
    started = time.monotonic()
    try:
        results = run_package(context, action, input)
    except AssetError as error:
        with tenant_scope(scope):
            _record_failure(prepared, error, started, now=now)
        raise
    prepared.produced = [*collected, *(Produced(context, result) for result in results)]
    prepared.output = _output(prepared.kind, [result.output for result in results])
    prepared.duration_ms = round((time.monotonic() - started) * 1000)
    return prepared


def commit(prepared: Prepared, *, actor: Actor, now: datetime) -> Outcome:
    """Write what `prepared` proposes; runs inside the caller's tenant scope and transaction.

    Resources get `meta.source`, those of agents and models the AIAST label, and each package's
    writes a Provenance. Raises what the clinical store refuses (InvalidResource, …).
    """
    if prepared.done is not None:
        return prepared.done
    references: list[str] = []
    evidence: list[Evidence] = []
    for context, results in _by_package(prepared.produced):
        writer = _writer(context, actor)
        references.extend(write_result(context, results, actor=writer, now=now))
        evidence.extend(item for result in results for item in result.evidence)
        for result in results:
            _keep_receipts(context, result.receipts, now=now)
            for event in result.events:
                publish(
                    type=event.type,
                    payload=_traced(event.payload, prepared),
                    severity=event.severity,
                    actor=writer,
                    now=now,
                )
        _keep_lines(context, now=now)
    outcome = Outcome(
        prepared.output, tuple(evidence), tuple(dict.fromkeys(references)), prepared.run_id
    )
    if prepared.run_id is not None:
        finish_run(prepared, outcome, now=now)
    return outcome


def abandon(prepared: Prepared, error: HealthCloudError, *, now: datetime) -> None:
    """Note in an agent's run record that what it proposed could not be written.

    Opens its own transaction: the one of `commit` was rolled back.
    """
    if prepared.run_id is not None and prepared.done is None:
        refused = AssetError("write_refused", error.message, details={"code": error.code})
        with tenant_scope(prepared.context.scope):
            fail_run(prepared, refused, now=now)


def _record_failure(
    prepared: Prepared, error: AssetError, started: float, *, now: datetime
) -> None:
    context = prepared.context
    _keep_lines(context, now=now)
    deployment = queries.deployment(context.deployment_id)
    write_log(
        deployment,
        "warning" if error.code == SPENT else "error",
        "call failed",
        {"action": prepared.action, "code": error.code, "retryable": error.retryable},
        now=now,
        release_number=context.release_number,
        parent=context.parent,
    )
    if prepared.run_id is not None:
        prepared.duration_ms = round((time.monotonic() - started) * 1000)
        fail_run(prepared, error, now=now)


def _output(kind: str, outputs: list[Json]) -> Json:
    if kind == "dataset":
        return {"batches": len(outputs), **(outputs[-1] if outputs else {})}
    return outputs[-1] if outputs else {}


def _by_package(produced: list[Produced]) -> list[tuple[CallContext, list[Result]]]:
    grouped: dict[int, tuple[CallContext, list[Result]]] = {}
    for item in produced:
        grouped.setdefault(id(item.context), (item.context, []))[1].append(item.result)
    return list(grouped.values())


def _writer(context: CallContext, actor: Actor) -> Actor:
    """Return the actor of a package's writes: the agent itself, else who called."""
    if context.package.manifest.kind != "agent":
        return actor
    return Actor("agent", context.deployment_id, context.package.manifest.name)


def _traced(payload: Json, prepared: Prepared) -> Json:
    """Return an event's payload with the ids of what caused it."""
    ids: Json = {
        "deployment_id": prepared.context.deployment_id,
        "asset_id": prepared.context.asset_id,
    }
    if prepared.run_id is not None:
        ids["agent_run_id"] = prepared.run_id
    if prepared.parent and prepared.parent.get("run_id"):
        ids["run_id"] = prepared.parent["run_id"]
    return {**payload, **ids}


def _keep_receipts(context: CallContext, receipts: list[Json], *, now: datetime) -> None:
    for body in receipts:
        receipt = Receipt.objects.create(
            id=new_id("rcpt"),
            project_id=context.project_id,
            deployment_id=context.deployment_id,
            release_number=context.release_number,
            body=body,
            created_at=now,
        )
        enqueue(
            scope=active_scope(),
            kind=ACKNOWLEDGE_KIND,
            ref=receipt.id,
            queue=ACKNOWLEDGE_QUEUE,
            dedupe_key=receipt.id,
        )


def _keep_lines(context: CallContext, *, now: datetime) -> None:
    if not context.lines:
        return
    deployment = queries.deployment(context.deployment_id)
    for level, message, fields in context.lines:
        write_log(
            deployment,
            level,
            message,
            fields,
            now=now,
            release_number=context.release_number,
            parent=context.parent,
        )
    context.lines.clear()
