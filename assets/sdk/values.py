"""The words of the SDK: JSON, resources as read and as written, evidence, results. Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]
"""A JSON object."""

Resource = dict[str, Any]
"""A FHIR R4 resource as parsed JSON, with `resourceType`."""

Query = Mapping[str, str | Sequence[str]]
"""FHIR search parameters: `{"patient": "pat_1", "date": ["ge2026-01-01", "lt2026-02-01"]}`."""

AIAST: Resource = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
"""The security label of AI-made resources (HL7 AI Transparency on FHIR, level 1)."""


@dataclass(frozen=True, slots=True)
class StoredResource:
    """A resource as it stood in the store when it was read."""

    resource_type: str
    id: str
    version: int
    resource: Resource

    @property
    def reference(self) -> str:
        """`Observation/abc`."""
        return f"{self.resource_type}/{self.id}"

    @property
    def versioned_reference(self) -> str:
        """`Observation/abc/_history/2`."""
        return f"{self.reference}/_history/{self.version}"


@dataclass(frozen=True, slots=True)
class SlotResult:
    """What a slot's connector or model answered. Its writes join the caller's commit by themselves.

    `resources` are not stored yet (they will be, in the caller's commit), so a search does not find
    them; use them as they stand.
    """

    output: Json
    resources: list[Resource]


class RuleOutcome(NamedTuple):
    """One evaluated rule, as run records keep it. `result` None means unknown: missing ≠ negative.

    `citation` is `{"text", "doi", "url"}`; `inputs` are the evidence references that it read.
    """

    id: str
    version: str
    result: bool | None
    title: str = ""
    citation: Mapping[str, str] = {}
    inputs: tuple[str, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """A resource to be written by the platform.

    `create` gives it a new id; `upsert` writes it under its own `id` and leaves an equal stored
    resource untouched (idempotent); `update` demands that it exists. References between writes of
    one result use ids, so give such resources an id (`context.resource_id`, `stable_id`) and
    upsert them.
    """

    method: Literal["create", "update", "upsert"]
    resource: Resource


class Emit(NamedTuple):
    """An event to publish with the commit. The payload holds ids and codes, never PHI."""

    type: str
    payload: Json
    severity: Literal["info", "warning", "error", "critical"] = "info"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A resource version that a result rests on, and the rules or steps that used it."""

    reference: str
    version: int
    used_by: tuple[str, ...] = ()

    @classmethod
    def of(cls, stored: StoredResource, *used_by: str) -> "Evidence":
        """Return the evidence entry of a resource that was read."""
        return cls(stored.reference, stored.version, tuple(used_by))


@dataclass(slots=True)
class Result:
    """What one call produced.

    `output` is what the caller gets; `resources` and `events` are written in one transaction;
    `rules`, `missing`, `evidence`, `actions` go to the run record; each of `receipts` comes back to
    `Connector.acknowledge` after the commit (JSON, no PHI: they wait in the project's schema).
    """

    output: Json
    resources: list[Write] = field(default_factory=list)
    events: list[Emit] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    rules: list[RuleOutcome] = field(default_factory=list)
    missing: list[Json] = field(default_factory=list)
    actions: list[Json] = field(default_factory=list)
    receipts: list[Json] = field(default_factory=list)


def stable_id(*parts: str) -> str:
    """Return a FHIR id (32 hex digits) that depends on nothing but `parts`."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
