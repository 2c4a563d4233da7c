"""Run a deployed asset in two phases: `execute` runs package code, `commit` writes what it said.

`execute` calls vendors and reads FHIR with no transaction of the caller's open. `commit` writes
resources, events, run record and receipts in the caller's transaction, so that a workflow step's
effects and its record are one. Connector acknowledgements follow the commit as due work.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from assets import queries, registry
from assets.models import AgentRun, Deployment, DeploymentStatus, Receipt, Release, RunStatus
from assets.runs import begin_run, fail_run, find_or_create_run, finish_run
from assets.runtime.context import CallContext, context_of
from assets.runtime.packages import check_call, run_package
from assets.runtime.slots import ClosedSlot, Produced, SlotHandle, Slots
from assets.runtime.writing import write_result
from assets.sdk import AssetError, Evidence, Json, Result
from assets.services.trace import write_log
from fhir.store import InvalidResource
from healthcloud.actors import Actor
from healthcloud.errors import Conflict, HealthCloudError
from healthcloud.events.services import publish
from healthcloud.identifiers import new_id
from healthcloud.ledger.services import enqueue
from healthcloud.tenancy.scope import Scope, active_scope, tenant_scope

logger = logging.getLogger(__name__)

ACKNOWLEDGE_KIND = "connector.acknowledge"
ACKNOWLEDGE_QUEUE = "agents"
AGENT_RUN_KIND = "agent.run"


class NotRunning(Conflict):
    """The asset has no deployment here that answers calls; `details` hold the remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message} {remedy}", details={"code": "not_running", "remedy": remedy})


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
        found, release = _serving(deployment, scope)
        context, collected = _context(
            found, release, scope=scope, now=now, idempotency_key=idempotency_key
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


def invoke(
    *,
    scope: Scope,
    deployment_id: str,
    action: str | None,
    input: Json,
    actor: Actor,
    now: datetime,
    idempotency_key: str,
) -> Outcome:
    """Execute and commit in one call, each in transactions of its own; for direct invocations.

    Raises what `execute` and `commit` raise; an agent's run record then says why.
    """
    with tenant_scope(scope):
        found = queries.deployment(deployment_id)
    prepared = execute(
        deployment=found,
        action=action,
        input=input,
        actor=actor,
        now=now,
        idempotency_key=idempotency_key,
        scope=scope,
    )
    try:
        with tenant_scope(scope):
            return commit(prepared, actor=actor, now=now)
    except HealthCloudError as error:
        abandon(prepared, error, now=now)
        raise


def run_agent(
    *,
    scope: Scope,
    agent: str,
    input: Json,
    actor: Actor,
    now: datetime,
    idempotency_key: str,
) -> AgentRun:
    """Run a project's deployed agent and return its run record, also that of a failed run.

    Raises NotRunning (409), InputInvalid (422), AssetNotFound (404) when no run began.
    """
    with tenant_scope(scope):
        found = _find(agent, scope)
    try:
        invoke(
            scope=scope,
            deployment_id=found.id,
            action=None,
            input=input,
            actor=actor,
            now=now,
            idempotency_key=idempotency_key,
        )
    except (AssetError, InvalidResource) as error:
        logger.info("agent_run_failed", extra={"code": error.code})  # the run record says why
    with tenant_scope(scope):
        return queries.agent_runs().get(deployment=found, idempotency_key=idempotency_key)


def queue_agent(
    *,
    scope: Scope,
    agent: str,
    input: Json,
    actor: Actor,
    now: datetime,
    idempotency_key: str,
) -> AgentRun:
    """Ask for an agent's run and return its queued record; due work carries it out.

    Raises NotRunning (409), InputInvalid (422), AssetNotFound (404).
    """
    with tenant_scope(scope):
        found, release = _serving(agent, scope)
        context, _ = _context(found, release, scope=scope, now=now, idempotency_key=idempotency_key)
        check_call(context, None, input)
        run, _ = find_or_create_run(
            context, found, input, RunStatus.QUEUED, actor=actor, trigger="api"
        )
        enqueue(scope=scope, kind=AGENT_RUN_KIND, ref=run.id, queue="agents", dedupe_key=run.id)
        return run


def carry_out_run(*, scope: Scope, run_id: str, now: datetime) -> None:
    """Run a queued agent; a run that has ended is left as it is."""
    with tenant_scope(scope):
        run = queries.agent_run(run_id)
    if run.status not in (RunStatus.QUEUED, RunStatus.RUNNING):
        return
    run_agent(
        scope=scope,
        agent=run.asset_id,
        input=run.input,
        actor=Actor(**run.actor),
        now=now,
        idempotency_key=run.idempotency_key,
    )


def abandon(prepared: Prepared, error: HealthCloudError, *, now: datetime) -> None:
    """Note in an agent's run record that what it proposed could not be written.

    Opens its own transaction: the one of `commit` was rolled back.
    """
    if prepared.run_id is not None and prepared.done is None:
        refused = AssetError("write_refused", error.message, details={"code": error.code})
        with tenant_scope(prepared.context.scope):
            fail_run(prepared, refused, now=now)


def _serving(deployment: Deployment | str, scope: Scope) -> tuple[Deployment, Release]:
    """Return the deployment and the release that answers calls; raise NotRunning."""
    found = _find(deployment, scope)
    if found.status == DeploymentStatus.STOPPED:
        raise NotRunning(
            f"The deployment of {found.asset_id} is stopped.",
            f"Start it: POST /v1/deployments/{found.id}/start.",
        )
    if found.serving_number is None:
        raise NotRunning(
            f"The deployment of {found.asset_id} is {found.status}.",
            f"See GET /v1/deployments/{found.id} for what to do."
            if found.status == DeploymentStatus.FAILED
            else "Wait for deployment.active.",
        )
    return found, queries.release(found, found.serving_number)


def _find(deployment: Deployment | str, scope: Scope) -> Deployment:
    if isinstance(deployment, Deployment):
        return deployment
    if deployment.startswith("dep_"):
        return queries.deployment(deployment)
    manifest = registry.get(deployment)
    found = queries.deployment_of(manifest.id, scope.project_id or "")
    if found is None:
        installed = queries.installation_of(manifest.id, scope.project_id or "") is not None
        install = f'POST /v1/assets/install {{"asset_id": "{manifest.id}"}}, then '
        raise NotRunning(
            f"{manifest.id} is not deployed in this project.",
            f'{"" if installed else install}POST /v1/deployments {{"asset_id": "{manifest.id}"}}.',
        )
    return found


def _context(
    deployment: Deployment,
    release: Release,
    *,
    scope: Scope,
    now: datetime,
    idempotency_key: str,
) -> tuple[CallContext, list[Produced]]:
    """Return the call's context with its slots, and the list that collects what slots produce."""
    context = context_of(
        deployment,
        release,
        scope=scope,
        now=now,
        run_id="",
        idempotency_key=idempotency_key,
    )
    collected: list[Produced] = []
    context.slots = _slots(release, collected, context)
    return context, collected


def _slots(release: Release, collected: list[Produced], caller: CallContext) -> Slots:
    slots: dict[str, SlotHandle | ClosedSlot] = {}
    for name, filled in release.slots.items():
        found = queries.deployments().filter(id=filled["deployment_id"]).first()
        if found is None or found.serving_number is None or found.status == "stopped":
            slots[name] = ClosedSlot(name, filled["asset_id"], filled["deployment_id"])
            continue
        inner = context_of(
            found,
            queries.release(found, found.serving_number),
            scope=caller.scope,
            now=caller.now,
            run_id="",
            idempotency_key=f"{caller.idempotency_key}/{name}",
        )
        slots[name] = SlotHandle(name, inner, collected)
    return slots


def _record_failure(
    prepared: Prepared, error: AssetError, started: float, *, now: datetime
) -> None:
    context = prepared.context
    _keep_lines(context, now=now)
    deployment = queries.deployment(context.deployment_id)
    write_log(
        deployment,
        "error",
        "call failed",
        {"action": prepared.action, "code": error.code, "retryable": error.retryable},
        now=now,
        release_number=context.release_number,
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
            deployment, level, message, fields, now=now, release_number=context.release_number
        )
    context.lines.clear()
