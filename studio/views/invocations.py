"""Calling a deployment from its page: an agent, a model, a dataset, or a connector's action."""

from typing import Any

from django.http import HttpResponse

from assets import calls, queries, registry
from assets.forms import SchemaForm
from assets.invocation import Outcome
from assets.manifest import Manifest
from assets.models import DeploymentStatus
from assets.sdk import AssetError
from healthcloud.identifiers import new_id
from healthcloud.tenancy.scope import tenant_scope
from studio.calls import ApiCall
from studio.page import Page, studio_page

CALLABLE = (DeploymentStatus.ACTIVE, DeploymentStatus.DEGRADED)


def invoke(
    page: Page, deployment_id: str, *, input: dict[str, Any], action: str | None = None
) -> Outcome:
    """Call a deployment as `POST /v1/deployments/{id}/invoke` does; raise AssetError."""
    return calls.invoke(
        scope=page.scope,
        deployment_id=deployment_id,
        action=action,
        input=input,
        actor=page.actor,
        now=page.now,
        idempotency_key=new_id("req"),
    )


def call_forms(manifest: Manifest, deployment_id: str) -> list[dict[str, Any]]:
    """Return what can be called, each with the form of its input and its API call."""
    path = f"/v1/deployments/{deployment_id}/invoke"
    if manifest.provides.actions:
        return [
            {
                "action": action.name,
                "title": action.title,
                "form": SchemaForm(action.input_schema, prefix=action.name),
                "call": ApiCall("POST", path, {"action": action.name, "input": {}}),
            }
            for action in manifest.provides.actions
        ]
    if manifest.provides.input_schema is None:
        return []
    title = "Load it" if manifest.kind == "dataset" else "Call it"
    form = SchemaForm(manifest.provides.input_schema, prefix="input")
    call = ApiCall("POST", path, {"input": {}})
    return [{"action": "", "title": title, "form": form, "call": call}]


@studio_page("deployments", needs="agent.run", writes=True, tenant=False)
def call(page: Page, deployment_id: str) -> HttpResponse:
    """Call a deployment with the filled-in input; no transaction is open while it works."""
    with tenant_scope(page.scope):
        manifest = registry.get(queries.deployment(deployment_id).asset_id)
    action = manifest.action(page.request.POST.get("action", ""))
    schema = action.input_schema if action else manifest.provides.input_schema or {}
    form = SchemaForm(schema, data=page.request.POST, prefix=action.name if action else "input")
    if not form.is_valid():
        return page.refuse(form, "deployment", deployment_id)
    try:
        outcome = invoke(
            page, deployment_id, input=form.config(), action=action.name if action else None
        )
    except AssetError as error:
        page.warn(f"{error.message} {error.remedy or ''}")
        return page.redirect("deployment", deployment_id)
    context: dict[str, object] = {
        "manifest": manifest,
        "deployment_id": deployment_id,
        "outcome": outcome,
    }
    with tenant_scope(page.scope):
        return page.render("studio/deployments/outcome.html", context)
