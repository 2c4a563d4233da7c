"""Deployments: what runs, its releases, log, health, and the levers."""

from django.http import HttpResponse

from assets import queries, registry, services
from assets.models import DEPLOYING, Deployment, DeploymentStatus
from healthcloud.numbers import number_of
from studio.calls import ApiCall
from studio.page import Page, studio_page
from studio.paging import page_of
from studio.views.invocations import CALLABLE, call_forms


@studio_page("deployments", needs="asset.read")
def deployments(page: Page) -> HttpResponse:
    """List the deployments, filtered by status."""
    status = page.request.GET.get("status", "")
    rows = queries.deployments().order_by("-updated_at", "-id")
    if status in DeploymentStatus.values:
        rows = rows.filter(status=status)
    found, next_url = page_of(page, rows)
    context: dict[str, object] = {
        "rows": [{"deployment": row, "manifest": registry.find(row.asset_id)} for row in found],
        "next_url": next_url,
        "status": status,
        "statuses": DeploymentStatus.values,
    }
    return page.render("studio/deployments/list.html", context)


@studio_page("deployments", needs="asset.read")
def deployment(page: Page, deployment_id: str) -> HttpResponse:
    """Show one deployment."""
    found = queries.deployment(deployment_id)
    return page.render("studio/deployments/detail.html", context_of(page, found))


def context_of(page: Page, found: Deployment) -> dict[str, object]:
    """Return all that the deployment page shows."""
    path = f"/v1/deployments/{found.id}"
    manifest = registry.find(found.asset_id)
    callable_now = manifest is not None and found.status in CALLABLE and page.can("agent.run")
    releases = list(queries.releases(found).order_by("-number")[:20])
    return {
        "deployment": found,
        "manifest": manifest,
        "call_forms": call_forms(manifest, found.id) if manifest and callable_now else [],
        "releases": releases,
        "serving": next((r for r in releases if r.number == found.serving_number), None),
        "log": queries.log_lines(found).order_by("-id")[:100],
        "check": queries.last_check(found),
        "agent_runs": queries.agent_runs().filter(deployment=found).order_by("-started_at")[:8],
        "busy": found.status in DEPLOYING,
        "stopped": found.status in (DeploymentStatus.STOPPED, DeploymentStatus.FAILED),
        "can_deploy": page.can("deployment.write"),
        "call": ApiCall("GET", path),
    }


@studio_page("deployments", needs="deployment.write", writes=True)
def stop(page: Page, deployment_id: str) -> HttpResponse:
    """Stop a deployment."""
    services.stop(deployment_id=deployment_id, actor=page.actor, now=page.now)
    page.say("The deployment is stopped. Calls to it are refused until you start it.")
    return page.redirect("deployment", deployment_id)


@studio_page("deployments", needs="deployment.write", writes=True)
def start(page: Page, deployment_id: str) -> HttpResponse:
    """Start a stopped or failed deployment."""
    services.start(deployment_id=deployment_id, actor=page.actor, now=page.now)
    page.say("The deployment is starting, through all checks again.")
    return page.redirect("deployment", deployment_id)


@studio_page("deployments", needs="deployment.write", writes=True)
def rollback(page: Page, deployment_id: str) -> HttpResponse:
    """Go back to an earlier release."""
    services.rollback(
        deployment_id=deployment_id,
        number=number_of(page.request.POST.get("number", "")),
        actor=page.actor,
        now=page.now,
    )
    page.say("Rolling back. The earlier release becomes a new one.")
    return page.redirect("deployment", deployment_id)
