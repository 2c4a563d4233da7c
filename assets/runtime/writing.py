"""Write what package code proposed: labeled, with its source, and with a Provenance.

Equal resources are left as they are, so that a message that comes twice makes no new version.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

from assets.manifest import Manifest
from assets.runtime.context import CallContext
from assets.sdk import AIAST, Evidence, Resource, Result, Write
from fhir import search as fhir_search
from fhir import store
from fhir.stored import StoredResource
from healthcloud.actors import Actor
from healthcloud.errors import ValidationFailed

AI_KINDS = ("agent", "model")
_CHUNK = 50
_ACTIVITY = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
ASSETS = "https://healthcloud.dev/assets"


class WriteRefused(ValidationFailed):
    """An asset wants to write what it did not declare, or update what isn't there."""


def write_result(
    context: CallContext, results: Sequence[Result], *, actor: Actor, now: datetime
) -> list[str]:
    """Write the resources of a package's results; return the references of all of them.

    Runs in the caller's transaction. Raises WriteRefused, or what the store refuses.
    """
    manifest = context.package.manifest
    writes = _latest(write for result in results for write in result.resources)
    _check_declared(manifest, writes)
    labeled = [(write.method, _labeled(context, manifest, write.resource)) for write in writes]
    known = _stored([resource for method, resource in labeled if method != "create"], now=now)
    references: dict[int, str] = {}
    changed: list[tuple[int, Resource]] = []
    for position, (method, resource) in enumerate(labeled):
        current = known.get(_key(resource)) if method != "create" else None
        if method == "update" and current is None:
            raise WriteRefused(f"{'/'.join(_key(resource))} does not exist; it can't be updated.")
        if current is not None and _same(current.resource, resource):
            references[position] = current.reference
        else:
            changed.append((position, resource))
    if changed:
        written = _write(context, changed, results, actor=actor, now=now)
        references |= written
    return [references[position] for position in sorted(references)]


def _write(
    context: CallContext,
    changed: Sequence[tuple[int, Resource]],
    results: Sequence[Result],
    *,
    actor: Actor,
    now: datetime,
) -> dict[int, str]:
    stored = store.write_many(resources=[resource for _, resource in changed], actor=actor, now=now)
    references = [item.reference for item in stored]
    evidence = [entry for result in results for entry in result.evidence]
    device = _device(context)
    same = _stored([device], now=now).get(_key(device))
    extra = [] if same is not None and _same(same.resource, device) else [device]
    provenance = _provenance(context, references, evidence, now=now)
    store.write_many(resources=[*extra, provenance], actor=actor, now=now)
    return {
        position: reference for (position, _), reference in zip(changed, references, strict=True)
    }


def _latest(writes: Iterable[Write]) -> list[Write]:
    """Return the writes, the last one of each type and id only."""
    kept: dict[object, Write] = {}
    for number, write in enumerate(writes):
        key: object = _key(write.resource) if write.resource.get("id") else number
        kept.pop(key, None)
        kept[key] = write
    return list(kept.values())


def _check_declared(manifest: Manifest, writes: Sequence[Write]) -> None:
    declared = set(manifest.provides.fhir.creates)
    for write in writes:
        name = write.resource.get("resourceType")
        if name not in declared:
            raise WriteRefused(
                f"{manifest.id} does not declare that it creates {name}; "
                "add it to provides.fhir.creates of its manifest."
            )


def _labeled(context: CallContext, manifest: Manifest, resource: Resource) -> Resource:
    meta = dict(resource.get("meta", {}))
    meta.setdefault("source", f"{ASSETS}/{manifest.id}#{context.deployment_id}")
    if manifest.kind in AI_KINDS:
        security = list(meta.get("security", []))
        if not any(item.get("code") == AIAST["code"] for item in security):
            security.append(AIAST)
        meta["security"] = security
    return {**resource, "meta": meta}


def _stored(
    resources: Sequence[Resource], *, now: datetime
) -> dict[tuple[str, str], StoredResource]:
    """Return the current versions of resources, by type and id."""
    by_type: dict[str, list[str]] = {}
    for resource in resources:
        name, rid = _key(resource)
        by_type.setdefault(name, []).append(rid)
    found: dict[tuple[str, str], StoredResource] = {}
    for name, ids in by_type.items():
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            page = fhir_search.search(
                resource_type=name,
                query=[("_id", ",".join(chunk)), ("_count", str(_CHUNK))],
                now=now,
            )
            found |= {(item.resource_type, item.id): item for item in page.entries}
    return found


def _key(resource: Resource) -> tuple[str, str]:
    return str(resource.get("resourceType", "")), str(resource.get("id", ""))


def _same(stored: Resource, proposed: Resource) -> bool:
    """Whether two versions say the same; `meta` is the platform's, but for its labels."""
    left = {name: value for name, value in stored.items() if name != "meta"}
    right = {name: value for name, value in proposed.items() if name != "meta"}
    return left == right


def _device(context: CallContext) -> Resource:
    manifest = context.package.manifest
    return {
        "resourceType": "Device",
        "id": context.deployment_id,
        "meta": {"source": f"{ASSETS}/{manifest.id}"},
        "identifier": [{"system": ASSETS, "value": manifest.id}],
        "status": "active",
        "manufacturer": manifest.publisher,
        "deviceName": [{"name": manifest.name, "type": "user-friendly-name"}],
        "type": {"text": f"HealthCloud {manifest.kind}"},
        "version": [{"value": manifest.version}],
    }


def _provenance(
    context: CallContext,
    targets: Sequence[str],
    evidence: Sequence[Evidence],
    *,
    now: datetime,
) -> Resource:
    assembler = {"coding": [{"system": _PARTICIPANT, "code": "assembler"}]}
    provenance: Resource = {
        "resourceType": "Provenance",
        "id": context.resource_id("provenance"),
        "meta": {"source": f"{ASSETS}/{context.asset_id}#{context.deployment_id}"},
        "target": [{"reference": reference} for reference in targets],
        "recorded": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "activity": {"coding": [{"system": _ACTIVITY, "code": "CREATE"}]},
        "agent": [{"type": assembler, "who": {"reference": context.device}}],
    }
    sources = dict.fromkeys(f"{item.reference}/_history/{item.version}" for item in evidence)
    if sources:
        provenance["entity"] = [
            {"role": "source", "what": {"reference": reference}} for reference in sources
        ]
    return provenance
