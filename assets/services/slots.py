"""Slots: which deployed assets of the project a deployment works with."""

from collections.abc import Mapping

from assets import queries, registry
from assets.manifest import Manifest, Requirement
from assets.models import RUNNING, Deployment, DeploymentStatus
from assets.sdk import Json
from healthcloud.errors import Conflict, ValidationFailed

READY = (*RUNNING, DeploymentStatus.FAILED)


class SlotUnfilled(Conflict):
    """A slot has nothing to work with; `details` hold code `missing_slot` and the remedy."""

    def __init__(self, slot: str, message: str, remedy: str) -> None:
        super().__init__(
            f"{message} {remedy}",
            param=f"config.{slot}",
            details={"code": "missing_slot", "slot": slot, "remedy": remedy},
        )


class SlotMismatch(ValidationFailed):
    """The asset named for a slot is not of the kind or capability that the slot needs."""


def fill_slots(manifest: Manifest, wanted: Mapping[str, str | None], project_id: str) -> Json:
    """Return `{slot: {"asset_id", "deployment_id"}}` for each slot that can be filled.

    A slot that nobody named takes the project's deployed asset of the capability, when there is
    exactly one. Raises SlotUnfilled (409), SlotMismatch (422), AssetNotFound (404).
    """
    filled: Json = {}
    for slot in manifest.slots:
        name = str(slot.slot)
        asked = wanted.get(name)
        found = _named(slot, asked, project_id) if asked else _only(slot, project_id)
        if found is not None and not (name in wanted and asked is None and slot.optional):
            filled[name] = {"asset_id": found.asset_id, "deployment_id": found.id}
        elif not slot.optional:
            raise _unfilled(slot, project_id)
    return filled


def _named(slot: Requirement, asked: str, project_id: str) -> Deployment:
    manifest = registry.get(asked)
    if manifest.kind != slot.kind or slot.capability not in manifest.provides.capabilities:
        raise SlotMismatch(
            f"The slot `{slot.slot}` takes a {slot.kind} that provides {slot.capability}; "
            f"{manifest.id} doesn't.",
            param=f"config.{slot.slot}",
        )
    found = queries.deployment_of(manifest.id, project_id)
    if found is None or (found.serving_number is None and found.status not in RUNNING):
        raise SlotUnfilled(
            str(slot.slot),
            f"{manifest.id} is not deployed in this project.",
            _how_to_deploy(manifest, project_id),
        )
    if found.status not in READY:
        raise SlotUnfilled(
            str(slot.slot),
            f"The deployment of {manifest.id} is {found.status}.",
            f"Start it: POST /v1/deployments/{found.id}/start.",
        )
    return found


def _only(slot: Requirement, project_id: str) -> Deployment | None:
    """Return the one deployment of the project that fits, None when there is none or several."""
    fitting = [
        item
        for item in queries.deployments()
        .filter(project_id=project_id, status__in=RUNNING)
        .order_by("created_at")
        if _fits(slot, registry.find(item.asset_id))
    ]
    return fitting[0] if len(fitting) == 1 else None


def _fits(slot: Requirement, manifest: Manifest | None) -> bool:
    return (
        manifest is not None
        and manifest.kind == slot.kind
        and slot.capability in manifest.provides.capabilities
    )


def _unfilled(slot: Requirement, project_id: str) -> SlotUnfilled:
    able = [item.slug for item in registry.all_assets() if _fits(slot, item)]
    names = ", ".join(able) if able else f"no asset of this catalog provides {slot.capability}"
    remedy = (
        f'Deploy one of them and name it in the config: "{slot.slot}": "{able[0]}".'
        if able
        else "Install an asset that does."
    )
    return SlotUnfilled(
        str(slot.slot),
        f"The slot `{slot.slot}` needs a deployed {slot.kind} for {slot.capability} ({names}).",
        remedy,
    )


def _how_to_deploy(manifest: Manifest, project_id: str) -> str:
    deploy = f'POST /v1/deployments {{"asset_id": "{manifest.id}"}}'
    if queries.installation_of(manifest.id, project_id) is not None:
        return f"Deploy it: {deploy}."
    install = f'POST /v1/assets/install {{"asset_id": "{manifest.id}"}}'
    return f"Install it: {install}, then deploy it: {deploy}."
