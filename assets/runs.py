"""The run records of agents: begun before the agent runs, finished in the commit of its effects."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from assets.models import AgentRun, Deployment, RunStatus
from assets.runtime.context import CallContext
from assets.sdk import AssetError, Evidence, Json, Result, RuleOutcome
from healthcloud.actors import Actor
from healthcloud.events.services import publish
from healthcloud.identifiers import new_id

LONGEST_RUN = timedelta(minutes=15)

if TYPE_CHECKING:
    from assets.invocation import Outcome, Prepared


def begin_run(
    context: CallContext,
    deployment: Deployment,
    input: Json,
    *,
    actor: Actor,
    trigger: str,
    parent: Mapping[str, str] | None,
) -> AgentRun:
    """Return the run of this call: a new one, or that of an earlier attempt with the same key."""
    run, created = find_or_create_run(
        context, deployment, input, RunStatus.RUNNING, actor=actor, trigger=trigger, parent=parent
    )
    if not created and run.status != RunStatus.SUCCEEDED:
        run.attempt += run.status != RunStatus.QUEUED
        run.status, run.error = RunStatus.RUNNING, None
        run.finished_at = run.duration_ms = None
        run.save(update_fields=["attempt", "status", "error", "finished_at", "duration_ms"])
    if run.output is None:
        publish(
            type="agent.run.started",
            payload=_payload(run, parent),
            actor=agent_actor(context),
            now=context.now,
        )
    return run


def find_or_create_run(
    context: CallContext,
    deployment: Deployment,
    input: Json,
    status: RunStatus,
    *,
    actor: Actor,
    trigger: str,
    parent: Mapping[str, str] | None = None,
) -> tuple[AgentRun, bool]:
    """Return the run of this deployment and idempotency key, and whether it was made just now."""
    return AgentRun.objects.get_or_create(
        deployment=deployment,
        idempotency_key=context.idempotency_key,
        defaults={
            "id": new_id("arun"),
            "project_id": context.project_id,
            "asset_id": context.asset_id,
            "asset_version": context.asset_version,
            "release_number": context.release_number,
            "trigger": trigger,
            "parent": dict(parent) if parent else None,
            "actor": actor.as_dict(),
            "status": status,
            "input": input,
            "started_at": context.now,
        },
    )


def finish_run(prepared: "Prepared", outcome: "Outcome", *, now: datetime) -> None:
    """Complete the run record with what was decided on and written."""
    run = AgentRun.objects.select_for_update().get(id=outcome.run_id)
    results = [item.result for item in prepared.produced]
    run.status = RunStatus.SUCCEEDED
    run.output = outcome.output
    run.evidence = [evidence_entry(item) for item in outcome.evidence]
    run.rules = [rule_entry(item) for result in results for item in result.rules]
    run.missing_data = [item for result in results for item in result.missing]
    run.actions = _actions(results)
    run.resources = list(outcome.resources)
    run.finished_at = now
    run.duration_ms = prepared.duration_ms
    run.save()
    publish(
        type="agent.run.completed",
        payload=_payload(run, prepared.parent) | {"duration_ms": run.duration_ms},
        actor=agent_actor(prepared.context),
        now=now,
    )


def fail_run(prepared: "Prepared", error: AssetError, *, now: datetime) -> None:
    """Complete the run record with why it failed."""
    run = AgentRun.objects.select_for_update().get(id=prepared.run_id)
    run.status = RunStatus.FAILED
    run.error = error.as_dict()
    run.finished_at = now
    run.duration_ms = prepared.duration_ms
    run.save(update_fields=["status", "error", "finished_at", "duration_ms"])
    facts = {"code": error.code, "message": error.message, "remedy": error.remedy}
    publish(
        type="agent.run.failed",
        payload=_payload(run, prepared.parent) | {"duration_ms": run.duration_ms} | facts,
        actor=agent_actor(prepared.context),
        now=now,
    )


def expire_runs(deployment_id: str, *, now: datetime) -> None:
    """Mark runs failed that are still `running` long after their time: their caller broke off."""
    stuck = AgentRun.objects.select_for_update(skip_locked=True).filter(
        deployment_id=deployment_id, status=RunStatus.RUNNING, started_at__lt=now - LONGEST_RUN
    )
    error = AssetError(
        "interrupted",
        "The run broke off, or what it proposed could not be written.",
        retryable=True,
        remedy="Look at the workflow run or the request that started it, and run it again.",
    )
    for run in stuck[:100]:
        run.status, run.error, run.finished_at = RunStatus.FAILED, error.as_dict(), now
        run.save(update_fields=["status", "error", "finished_at"])


def agent_actor(context: CallContext) -> Actor:
    """Return the agent as an actor."""
    return Actor("agent", context.deployment_id, context.package.manifest.name)


def evidence_entry(item: Evidence) -> Json:
    """Return an evidence entry as run records keep it."""
    return {
        "reference": item.reference,
        "version": item.version,
        "versioned_reference": f"{item.reference}/_history/{item.version}",
        "used_by": list(item.used_by),
    }


def rule_entry(item: RuleOutcome) -> Json:
    """Return a rule's outcome as run records keep it."""
    return {
        "id": item.id,
        "version": item.version,
        "title": item.title,
        "result": {True: "true", False: "false", None: "unknown"}[item.result],
        "citation": dict(item.citation),
        "inputs": list(item.inputs),
        "detail": item.detail,
    }


def _actions(results: list[Result]) -> list[Json]:
    return [action for result in results for action in result.actions]


def _payload(run: AgentRun, parent: Mapping[str, str] | None) -> Json:
    payload: Json = {
        "agent_run_id": run.id,
        "asset_id": run.asset_id,
        "deployment_id": run.deployment_id,
    }
    if parent and parent.get("run_id"):
        payload["run_id"] = parent["run_id"]
    return payload
