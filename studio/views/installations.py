"""An installed asset: configuration, secrets, connection test, deploy, upgrade, uninstall."""

from collections.abc import Iterator
from typing import Any

from django.http import HttpResponse

from assets import configuration, queries, registry, services
from assets.forms import SchemaForm
from assets.manifest import Manifest
from assets.models import RUNNING, Installation
from studio.calls import ApiCall
from studio.page import Page, studio_page


@studio_page("catalog", needs="asset.install", writes=True)
def install(page: Page, asset_id: str) -> HttpResponse:
    """Install an asset into the project; it does not run yet."""
    installed = services.install(asset_id=asset_id, actor=page.actor, now=page.now)
    page.say(f"{registry.get(asset_id).name} is installed. Configure and deploy it.")
    return page.redirect("installation", installed.id)


@studio_page("catalog", needs="asset.read")
def installation(page: Page, installation_id: str) -> HttpResponse:
    """Show an installation with its forms."""
    found = queries.installation(installation_id)
    return page.render("studio/catalog/installation.html", context_of(page, found))


def context_of(
    page: Page, found: Installation, form: SchemaForm | None = None
) -> dict[str, object]:
    """Return all that the installation page shows; `form` is one that was refused."""
    manifest = registry.get(found.asset_id)
    config, slots = configuration.split_slots(manifest, found.config)
    shown = configuration.effective(manifest, page.scope, config)
    path = f"/v1/asset-installations/{found.id}"
    return {
        "installation": found,
        "manifest": manifest,
        "deployment": queries.deployment_of(found.asset_id, page.project.id),
        "form": form or SchemaForm(manifest.config.json_schema, initial=shown),
        "secrets": secrets_of(manifest, found),
        "slots": list(slots_of(page, manifest, slots)),
        "upgrade": manifest.version != found.version,
        "can_install": page.can("asset.install"),
        "can_deploy": page.can("deployment.write"),
        "configure_call": ApiCall("PATCH", path, {"config": shown}),
        "check_call": ApiCall("POST", f"{path}/check"),
        "deploy_call": ApiCall(
            "POST", "/v1/deployments", {"asset_id": manifest.id, "environment": page.environment}
        ),
    }


def secrets_of(manifest: Manifest, found: Installation) -> list[dict[str, object]]:
    """Return each secret of the manifest, and whether it is set; never its value."""
    kept = {credential.name: credential for credential in found.credentials.all()}
    return [
        {
            **secret.model_dump(include={"name", "label", "help", "multiline", "required"}),
            "set": secret.name in kept,
            "last4": kept[secret.name].last4 if secret.name in kept else "",
            "rotated_at": kept[secret.name].rotated_at if secret.name in kept else None,
        }
        for secret in manifest.secrets
    ]


def slots_of(
    page: Page, manifest: Manifest, chosen: dict[str, str | None]
) -> Iterator[dict[str, Any]]:
    """Yield each slot with the deployed assets that fit it."""
    running = [found.asset_id for found in queries.deployments().filter(status__in=RUNNING)]
    for slot in manifest.slots:
        fitting = [
            item
            for item in map(registry.get, running)
            if item.kind == slot.kind and slot.capability in item.provides.capabilities
        ]
        asked = registry.find(chosen.get(slot.slot or "") or "")
        first = fitting[0].id if len(fitting) == 1 else ""
        yield {
            "slot": slot.slot,
            "title": slot.title or str(slot.slot).replace("_", " ").capitalize(),
            "optional": slot.optional,
            "capability": slot.capability,
            "choices": [{"value": item.id, "label": item.name} for item in fitting],
            "value": asked.id if asked else first,
        }


@studio_page("catalog", needs="asset.configure", writes=True)
def configure(page: Page, installation_id: str) -> HttpResponse:
    """Save the configuration."""
    found = queries.installation(installation_id)
    manifest = registry.get(found.asset_id)
    form = SchemaForm(manifest.config.json_schema, data=page.request.POST)
    if not form.is_valid():
        context = context_of(page, found, form)
        return page.render("studio/catalog/installation.html", context, status=422)
    _, slots = configuration.split_slots(manifest, found.config)
    services.configure(
        installation_id=installation_id,
        config={**form.config(), **slots},
        actor=page.actor,
        now=page.now,
    )
    page.say("The configuration is saved.")
    return page.redirect("installation", installation_id)


@studio_page("catalog", needs="asset.configure", writes=True)
def set_credentials(page: Page, installation_id: str) -> HttpResponse:
    """Keep the secrets that were filled in; empty ones stay as they are."""
    found = queries.installation(installation_id)
    given = {
        secret.name: page.request.POST[secret.name]
        for secret in registry.get(found.asset_id).secrets
        if page.request.POST.get(secret.name)
    }
    if given:
        services.set_credentials(
            installation_id=installation_id, credentials=given, actor=page.actor, now=page.now
        )
    page.say("The secrets are sealed." if given else "Nothing was filled in; all secrets stay.")
    return page.redirect("installation", installation_id)


@studio_page("catalog", needs="asset.configure", writes=True, tenant=False)
def check(page: Page, installation_id: str) -> HttpResponse:
    """Test the connection; no transaction is open while the vendor is called."""
    found, probes = services.check(
        scope=page.scope, installation_id=installation_id, actor=page.actor, now=page.now
    )
    call = ApiCall("POST", f"/v1/asset-installations/{found.id}/check")
    if page.request.headers.get("HX-Request"):
        context: dict[str, object] = {"installation": found, "probes": probes, "check_call": call}
        return page.render("studio/catalog/_check.html", context)
    failed = next((probe for probe in probes if not probe.ok), None)
    page.say(f"{failed.name} failed. {failed.remedy or ''}" if failed else "The connection works.")
    return page.redirect("installation", installation_id)


@studio_page("catalog", needs="deployment.write", writes=True)
def deploy(page: Page, installation_id: str) -> HttpResponse:
    """Deploy with the saved configuration and the chosen slots."""
    found = queries.installation(installation_id)
    manifest = registry.get(found.asset_id)
    chosen = {slot.slot: page.request.POST.get(slot.slot or "") or None for slot in manifest.slots}
    config: dict[str, object] = {name: value for name, value in chosen.items() if name and value}
    deployment = services.deploy(
        asset_id=found.asset_id, config=config, actor=page.actor, now=page.now
    )
    page.say(f"{manifest.name} is on its way to {page.environment}.")
    return page.redirect("deployment", deployment.id)


@studio_page("catalog", needs="asset.install", writes=True)
def upgrade(page: Page, installation_id: str) -> HttpResponse:
    """Take the catalog's version of the asset."""
    found = services.upgrade(installation_id=installation_id, actor=page.actor, now=page.now)
    page.say(f"Now at version {found.version}. Deploy again to run it.")
    return page.redirect("installation", installation_id)


@studio_page("catalog", needs="asset.install", writes=True)
def uninstall(page: Page, installation_id: str) -> HttpResponse:
    """Take an asset out of the project."""
    services.uninstall(installation_id=installation_id, actor=page.actor, now=page.now)
    page.say("The asset is uninstalled. Its records and runs stay.")
    return page.redirect("catalog")
