"""The five steps of a diagnostic app: what is done, what is next, and the call each one makes."""

from dataclasses import dataclass

from assets import queries as assets
from assets.models import DeploymentStatus
from healthcloud.events.models import Event
from studio.calls import ApiCall
from studio.page import Page
from workflows import queries as workflows
from workflows.models import RunStatus

AGENT = "agent_diagnostic_v1"
CONNECTOR = "connector_quest_diagnostics_v1"
DATASET = "dataset_synthetic_patients_v1"
WORKFLOW = "uti_screening"
AWAITED = ("diagnostic.result_ready", "workflow.completed")


@dataclass(frozen=True, slots=True)
class FirstStep:
    """One step of the checklist; `detail_url` leads to what it made, once it is done."""

    key: str
    title: str
    text: str
    button: str
    done: bool
    ready: bool
    calls: tuple[ApiCall, ...]
    detail_url: str = ""
    detail: str = ""
    problem: str = ""


def first_steps(page: Page) -> list[FirstStep]:
    """Return the five steps as they stand in the page's project."""
    steps = [_install(page), _integrate(page), _deploy(page), _run(page), _receive(page)]
    ready = True
    shown = []
    for step in steps:
        shown.append(_with_ready(step, ready=ready))
        ready = ready and step.done
    return shown


def _with_ready(step: FirstStep, *, ready: bool) -> FirstStep:
    values = {name: getattr(step, name) for name in step.__slots__}
    return FirstStep(**values | {"ready": ready and not step.done})


def _install(page: Page) -> FirstStep:
    found = assets.installation_of(AGENT, page.project.id)
    body: dict[str, object] = {"asset_id": AGENT, "project_id": page.project.id}
    return FirstStep(
        key="install",
        title="Install the Diagnostic Agent",
        text="It brings the workflow uti_screening with it. Installing runs nothing yet.",
        button="Install",
        done=found is not None,
        ready=False,
        calls=(ApiCall("POST", "/v1/assets/install", body),),
        detail_url=page.url("installation", found.id) if found else "",
        detail="Open the agent",
    )


def _integrate(page: Page) -> FirstStep:
    found = assets.installation_of(CONNECTOR, page.project.id)
    connected = found is not None and was_connected(found.id)
    installation = found.id if found else "inst_…"
    simulated = "The sandbox's Quest simulator answers; its credentials are filled in."
    return FirstStep(
        key="integrate",
        title="Connect Quest Diagnostics",
        text=simulated
        if page.is_sandbox
        else "Set your Quanum address and credentials, then test.",
        button="Configure and test" if page.is_sandbox else "Configure",
        done=connected,
        ready=False,
        calls=(
            ApiCall("POST", "/v1/assets/install", {"asset_id": "quest_diagnostics"}),
            ApiCall("POST", f"/v1/asset-installations/{installation}/check"),
        ),
        detail_url=page.url("installation", found.id) if found else "",
        detail="Open the integration",
        problem="The last connection test failed." if found and not connected else "",
    )


def was_connected(installation_id: str) -> bool:
    """Say whether the latest connection test of an installation succeeded."""
    told = Event.objects.filter(
        type__in=("integration.connected", "integration.failed"),
        payload__installation_id=installation_id,
    )
    latest = told.order_by("-position").values_list("type", flat=True).first()
    return latest == "integration.connected"


def _deploy(page: Page) -> FirstStep:
    found = assets.deployment_of(AGENT, page.project.id)
    running = (DeploymentStatus.ACTIVE, DeploymentStatus.DEGRADED)
    body: dict[str, object] = {"asset_id": AGENT, "environment": page.environment}
    connector = {**body, "asset_id": "quest_diagnostics"}
    failed = found is not None and found.status == DeploymentStatus.FAILED
    return FirstStep(
        key="deploy",
        title="Deploy both",
        text="Each deploy is an immutable release that you can roll back to.",
        button="Deploy",
        done=found is not None and found.status in running,
        ready=False,
        calls=(
            ApiCall("POST", "/v1/deployments", connector),
            ApiCall("POST", "/v1/deployments", body),
        ),
        detail_url=page.url("deployment", found.id) if found else "",
        detail="Open the deployment",
        problem=str((found.error or {}).get("message", "")) if found and failed else "",
    )


def _run(page: Page) -> FirstStep:
    runs = workflows.runs().filter(slug=WORKFLOW)
    latest = runs.filter(status=RunStatus.COMPLETED).order_by("-created_at").first()
    body: dict[str, object] = {"workflow_id": WORKFLOW, "input": {"patient_id": "pat_123"}}
    return FirstStep(
        key="run",
        title="Run uti_screening for a patient",
        text="It reads the chart, fetches what waits at the laboratory, and weighs the rules.",
        button="Run",
        done=latest is not None,
        ready=False,
        calls=(ApiCall("POST", "/v1/workflows/run", body),),
        detail_url=page.url("run", latest.id) if latest else "",
        detail="Open the run",
    )


def _receive(page: Page) -> FirstStep:
    told = Event.objects.filter(type__in=AWAITED).values_list("type", flat=True).distinct()
    return FirstStep(
        key="receive",
        title="Receive the events",
        text="diagnostic.result_ready and workflow.completed arrive live; webhooks get them too.",
        button="Watch events",
        done=set(AWAITED) <= set(told.order_by()),
        ready=False,
        calls=(ApiCall("GET", f"/v1/events/stream?project_id={page.project.id}"),),
        detail_url=page.url("events") + "?type=diagnostic.*,workflow.completed",
        detail="Watch events",
    )
