"""A patient's chart in memory, and the context in which a package runs on it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import assets
from assets.rules import RuleBook, open_rules
from assets.sdk import AssetError, Query, Slot, StoredResource, stable_id

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
CATALOG = Path(assets.__file__).parent / "catalog"
DIAGNOSTIC = CATALOG / "agents" / "diagnostic"


class Chart:
    """An `sdk.FhirReader` over a list of resources; each is version 1 unless meta says more."""

    def __init__(self, resources: Sequence[Mapping[str, Any]]) -> None:
        self.stored = [
            StoredResource(
                resource["resourceType"],
                resource["id"],
                int((resource.get("meta") or {}).get("versionId", 1)),
                {"meta": {"lastUpdated": "2026-11-22T09:59:00Z"}, **resource},
            )
            for resource in resources
        ]

    def read(self, resource_type: str, id: str) -> StoredResource:
        found = self.find(resource_type, id)
        if found is None:
            raise AssetError("resource_not_found", f"{resource_type}/{id} does not exist.")
        return found

    def find(self, resource_type: str, id: str) -> StoredResource | None:
        wanted = (resource_type, id)
        return next((item for item in self.stored if (item.resource_type, item.id) == wanted), None)

    def search(
        self, resource_type: str, query: Query, *, limit: int = 1000
    ) -> list[StoredResource]:
        found = [
            item
            for item in self.stored
            if item.resource_type == resource_type and _who(item) == query.get("patient")
        ]
        return found[:limit]

    def first(self, resource_type: str, query: Query) -> StoredResource | None:
        found = self.search(resource_type, query, limit=1)
        return found[0] if found else None


def _who(item: StoredResource) -> str | None:
    who = item.resource.get("subject") or item.resource.get("patient") or {}
    return who.get("reference")


class Call:
    """An `sdk.Context` with nothing behind it but a chart."""

    asset_id = "agent_diagnostic_v1"
    asset_version = "1.0.0"
    deployment_id = "dep_test"
    organization_id = "org_test"
    project_id = "proj_test"
    environment = "sandbox"
    run_id = "arun_test"
    idempotency_key = "key"
    device = "Device/dep_test"
    secrets: Mapping[str, str] = {}

    def __init__(
        self,
        resources: Sequence[Mapping[str, Any]] = (),
        *,
        folder: Path = DIAGNOSTIC,
        config: Mapping[str, Any] | None = None,
        slots: Mapping[str, Slot] | None = None,
        now: datetime = NOW,
    ) -> None:
        self.fhir = Chart(resources)
        self.config = config or {}
        self.slots = slots or {}
        self.now = now
        self.rules: RuleBook = open_rules(folder / "rules")
        self.lines: list[tuple[str, dict[str, object]]] = []

    def resource_id(self, name: str) -> str:
        return stable_id(self.deployment_id, self.idempotency_key, name)

    def log(self, message: str, **fields: str | int | float | bool | None) -> None:
        self.lines.append((message, fields))

    def clock(self) -> float:
        return 0.0


def patient(**changes: object) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "id": "pat_123",
        "gender": "female",
        "birthDate": "1992-03-14",
        **changes,
    }


LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
NITRITE, ESTERASE, BLOOD = "5802-4", "5799-2", "5794-3"


def observation(code: str, value: Mapping[str, Any] | str, /, **changes: object) -> dict[str, Any]:
    answer = {"valueString": value} if isinstance(value, str) else dict(value)
    return {
        "resourceType": "Observation",
        "id": f"obs-{code}",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}]},
        "subject": {"reference": "Patient/pat_123"},
        "effectiveDateTime": "2026-11-22T08:30:00Z",
        **answer,
        **changes,
    }


def condition(code: str, system: str = SNOMED, /, **changes: object) -> dict[str, Any]:
    return {
        "resourceType": "Condition",
        "id": f"cond-{code.replace('.', '-')}",
        "clinicalStatus": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/condition-clinical",
                    "code": "active",
                }
            ]
        },
        "code": {"coding": [{"system": system, "code": code}]},
        "subject": {"reference": "Patient/pat_123"},
        "onsetDateTime": "2026-11-21",
        **changes,
    }


DYSURIA = "49650001"


def dipstick(nitrite: str, esterase: str, blood: str) -> list[dict[str, Any]]:
    return [
        observation(NITRITE, nitrite),
        observation(ESTERASE, esterase),
        observation(BLOOD, blood),
    ]
