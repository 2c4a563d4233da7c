"""All that an asset package may import: the contract between a package and the platform.

A package is a folder with `asset.yaml` and code. The code subclasses one of `Agent`, `Connector`,
`Model`, `Dataset` or `App`; the manifest's `entry_point` names the class. The platform makes one
instance per call, hands it a `Context`, and takes back a `Result`.

Two phases. Package code runs first, outside any transaction: it reads FHIR, calls vendors through
`context.http`, and *returns* what it wants written. The platform then writes everything (FHIR
resources, Provenance, events, run record) in one transaction, and only after its commit calls
`Connector.acknowledge` for each receipt. So package code never writes, and nothing is lost between
a vendor's message and our store.

This module is pure: no Django, no HTTP client, no clock.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

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


class AssetError(Exception):
    """A failure that a package can name.

    `code` is snake_case and stable (`vendor_unauthorized`, `patient_not_found`); `message` is for
    people and holds no PHI; `remedy` says what to do; `retryable` says whether the same call may
    succeed later without anybody changing anything. `retry_after` is in seconds, from the vendor.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = False,
        remedy: str | None = None,
        retry_after: float | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.remedy = remedy
        self.retry_after = retry_after
        self.details = dict(details or {})

    def as_dict(self) -> Json:
        """Return the JSON form kept in run records, deployments and events."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "remedy": self.remedy,
        }


# --- what package code reads -----------------------------------------------------------------


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


class FhirReader(Protocol):
    """Reads of the project's clinical data, as of the call. There is no write: see `Write`."""

    def read(self, resource_type: str, id: str) -> StoredResource:
        """Return one resource; AssetError `resource_not_found` (permanent) names a missing one."""
        ...

    def search(
        self, resource_type: str, query: Query, *, limit: int = 1000
    ) -> list[StoredResource]:
        """Return the matches in the order of the search (`_sort`), at most `limit`."""
        ...

    def first(self, resource_type: str, query: Query) -> StoredResource | None:
        """Return the first match, or None."""
        ...


class HttpResponse(Protocol):
    """What a vendor answered."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def content(self) -> bytes: ...
    def text(self) -> str: ...
    def json(self) -> object:
        """Return the parsed body; AssetError `vendor_rubbish` when it isn't JSON."""
        ...


class HttpClient(Protocol):
    """The only way out. Hosts come from the manifest's `permissions.network`."""

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        json: object | None = None,
        data: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> HttpResponse:
        """Send one request, without retrying.

        Raises AssetError: `vendor_timeout` and `vendor_unreachable` (retryable),
        `host_not_allowed` (permanent). Any HTTP status is returned, never raised.
        """
        ...


class TokenCache(Protocol):
    """Short-lived secrets shared by all processes of a deployment (OAuth access tokens)."""

    def get_or_fetch(self, key: str, fetch: Callable[[], tuple[str, float]]) -> str:
        """Return the cached value of `key`, or call `fetch` once (single flight) and keep it.

        `fetch` returns the value and its lifetime in seconds; it is renewed at 90 % of that.
        """
        ...

    def forget(self, key: str) -> None:
        """Drop `key`, for instance after a 401."""
        ...


@dataclass(frozen=True, slots=True)
class SlotResult:
    """What a slot's connector or model answered. Its writes join the caller's commit by themselves.

    `resources` are not stored yet (they will be, in the caller's commit), so a search does not find
    them; use them as they stand.
    """

    output: Json
    resources: list[Resource]


class Slot(Protocol):
    """A deployed connector, model or dataset that fills a slot of this asset."""

    @property
    def asset_id(self) -> str: ...
    @property
    def deployment_id(self) -> str: ...

    def invoke(self, action: str | None, input: Json) -> SlotResult:
        """Run an action of the slot's asset (None for a model). AssetError passes through."""
        ...


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


class Evaluation(Protocol):
    """What a rule pack says about the facts given to it."""

    @property
    def rules(self) -> Sequence[RuleOutcome]: ...
    @property
    def missing(self) -> Sequence[Json]: ...
    @property
    def facts(self) -> Mapping[str, bool | None]: ...
    @property
    def outputs(self) -> Json: ...
    def evidence(self) -> "list[Evidence]": ...


class RuleEngine(Protocol):
    """The guideline engine (`assets.rules`), opened on the package's own `rules/` folder."""

    def evaluate(
        self,
        pack: str,
        resources: Sequence[StoredResource],
        *,
        now: datetime,
        parameters: Mapping[str, object] | None = None,
    ) -> Evaluation:
        """Evaluate rule pack `pack` (a file name in `rules/` without its suffix)."""
        ...


class Context(Protocol):
    """What one call of package code is given."""

    @property
    def asset_id(self) -> str:
        """`agent_diagnostic_v1`."""
        ...

    @property
    def asset_version(self) -> str: ...
    @property
    def deployment_id(self) -> str:
        """`dep_…`; empty while a connection is tested before the first deployment."""
        ...

    @property
    def organization_id(self) -> str: ...
    @property
    def project_id(self) -> str: ...
    @property
    def environment(self) -> Literal["sandbox", "production"]: ...
    @property
    def run_id(self) -> str:
        """The id that the agent run record will have (`arun_…`); for event payloads."""
        ...

    @property
    def idempotency_key(self) -> str:
        """The same in every retry of this call; hand it to vendors that take one."""
        ...

    @property
    def device(self) -> str:
        """`Device/dep_…`: this deployment as the performer or author of what it writes."""
        ...

    @property
    def now(self) -> datetime:
        """The time of this call, in UTC. Package code reads no other clock."""
        ...

    @property
    def config(self) -> Mapping[str, Any]:
        """The release's configuration, valid under the manifest's schema, defaults filled in."""
        ...

    @property
    def secrets(self) -> Mapping[str, str]: ...
    @property
    def slots(self) -> Mapping[str, Slot]:
        """The filled slots by name; an optional slot that nobody filled is absent."""
        ...

    @property
    def fhir(self) -> FhirReader: ...
    @property
    def http(self) -> HttpClient: ...
    @property
    def tokens(self) -> TokenCache: ...
    @property
    def rules(self) -> RuleEngine: ...
    def resource_id(self, name: str) -> str:
        """Return a FHIR id for a resource of this call: the same `name` in a retry, the same id."""
        ...

    def log(self, message: str, **fields: str | int | float | bool | None) -> None:
        """Write a line to the deployment's log. Ids and counts only: never clinical content."""
        ...

    def clock(self) -> float:
        """Return monotonic seconds, for durations only."""
        ...


# --- what package code returns ---------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Probe:
    """One step of a connection test. `status` is the vendor's HTTP status, when there was one."""

    name: str
    ok: bool
    ms: int
    status: int | None = None
    message: str = ""
    code: str | None = None
    remedy: str | None = None
    retryable: bool = False

    def as_dict(self) -> Json:
        """Return the JSON form."""
        return {
            "name": self.name,
            "ok": self.ok,
            "ms": self.ms,
            "status": self.status,
            "message": self.message,
            "code": self.code,
            "remedy": self.remedy,
            "retryable": self.retryable,
        }


def probe(context: Context, name: str, step: Callable[[], int | None], message: str) -> Probe:
    """Time `step` and return its probe; `step` returns the vendor's HTTP status or None.

    An AssetError becomes a failed probe with its message, code and remedy; its `details["status"]`,
    when given, is the vendor's status.
    """
    started = context.clock()
    try:
        status = step()
    except AssetError as error:
        vendor_status = error.details.get("status")
        return Probe(
            name=name,
            ok=False,
            ms=round((context.clock() - started) * 1000),
            status=vendor_status if isinstance(vendor_status, int) else None,
            message=error.message,
            code=error.code,
            remedy=error.remedy,
            retryable=error.retryable,
        )
    return Probe(name, True, round((context.clock() - started) * 1000), status, message)


def stable_id(*parts: str) -> str:
    """Return a FHIR id (32 hex digits) that depends on nothing but `parts`."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


# --- what a package subclasses ---------------------------------------------------------------


class Asset:
    """What all kinds have in common."""

    kind: ClassVar[str]

    def check(self, context: Context) -> Iterable[Probe]:
        """Yield the probes of a connection or health test, in order; stop after the first failure.

        Runs before a deployment becomes active and whenever somebody asks. It changes nothing,
        here or at the vendor. The default has nothing to test.
        """
        return ()


class Agent(Asset):
    """Executes a task on the project's data and proposes what to write."""

    kind = "agent"

    def run(self, context: Context, input: Json) -> Result:
        """Do the task. `input` is valid under the manifest's `provides.input_schema`."""
        raise NotImplementedError


class Connector(Asset):
    """Speaks a vendor's protocol."""

    kind = "connector"

    def invoke(self, context: Context, action: str, input: Json) -> Result:
        """Run one of the manifest's `provides.actions`; `input` is valid under its schema."""
        raise NotImplementedError

    def acknowledge(self, context: Context, receipt: Json) -> None:
        """Tell the vendor that what `receipt` stands for is stored. Called after the commit.

        At least once: it must be safe to repeat. A retryable AssetError is tried again later.
        """


class Model(Asset):
    """Turns an input into a prediction."""

    kind = "model"

    def predict(self, context: Context, input: Json) -> Result:
        """Predict. `input` is valid under the manifest's `provides.input_schema`."""
        raise NotImplementedError


class Dataset(Asset):
    """Brings data into the project."""

    kind = "dataset"

    def load(self, context: Context, input: Json) -> Iterator[Result]:
        """Yield results in batches of a few hundred writes; each is committed on its own.

        Writes are upserts with stable ids, so that loading twice changes nothing.
        """
        raise NotImplementedError


class App(Asset):
    """A bundle of assets and workflows; it has no code of its own unless it needs a check."""

    kind = "app"


__all__ = [
    "AIAST",
    "Agent",
    "App",
    "Asset",
    "AssetError",
    "Connector",
    "Context",
    "Dataset",
    "Emit",
    "Evaluation",
    "Evidence",
    "FhirReader",
    "HttpClient",
    "HttpResponse",
    "Json",
    "Model",
    "Probe",
    "Query",
    "Resource",
    "Result",
    "RuleEngine",
    "RuleOutcome",
    "Slot",
    "SlotResult",
    "StoredResource",
    "TokenCache",
    "Write",
    "probe",
    "stable_id",
]
