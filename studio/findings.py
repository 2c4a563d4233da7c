"""What an agent concluded, with the evidence it read, ready to show to a clinician."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from assets import registry
from assets.models import AgentRun
from fhir import store
from healthcloud.errors import HealthCloudError
from studio import clinical

SHOWN = 8
LEVEL_TONES = {
    "likely": "warn",
    "possible": "info",
    "unlikely": "good",
    "contaminated": "idle",
    "insufficient_data": "idle",
    "asymptomatic_bacteriuria": "info",
}


@dataclass(frozen=True, slots=True)
class Evidence:
    """A resource that an agent read, as it stood then."""

    type: str
    id: str
    version: str
    title: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One agent run as a conclusion."""

    id: str
    agent: str
    status: str
    level: str
    tone: str
    probability: int | None
    basis: str
    rationale: str
    citation: Mapping[str, Any]
    red_flags: list[str]
    evidence: list[Evidence]
    missing: list[str]
    written: list[str]


def finding_of(run: AgentRun) -> Finding:
    """Return an agent run as a conclusion with its evidence; call inside the tenant scope."""
    output = run.output or {}
    level = str(output.get("level") or "")
    probability = output.get("probability")
    manifest = registry.find(run.asset_id)
    return Finding(
        id=run.id,
        agent=manifest.name if manifest else run.asset_id,
        status=run.status,
        level=level,
        tone=LEVEL_TONES.get(level, "accent"),
        probability=round(probability * 100) if isinstance(probability, int | float) else None,
        basis=str(output.get("basis") or ""),
        rationale=str(output.get("rationale") or output.get("summary") or ""),
        citation=output.get("citation") or {},
        red_flags=[str(flag) for flag in output.get("red_flags") or []],
        evidence=list(evidence_of(run.evidence))[:SHOWN],
        missing=[str(item.get("title") or item.get("input")) for item in run.missing_data][:SHOWN],
        written=[str(reference) for reference in run.resources],
    )


def evidence_of(items: list[dict[str, Any]]) -> Iterator[Evidence]:
    """Yield each resource that was read, with what it says, in the version that was read."""
    for item in items[:SHOWN]:
        resource_type, _, resource_id = str(item.get("reference", "")).partition("/")
        version = item.get("version") or ""
        try:
            stored = store.vread(resource_type=resource_type, id=resource_id, version=version)
            title, detail = clinical.title_of(stored.resource), clinical.detail_of(stored.resource)
        except HealthCloudError:  # gone since: the reference still says what was read
            title, detail = f"{resource_type}/{resource_id}", ""
        yield Evidence(resource_type, resource_id, str(version), title, detail)
