"""What one call of package code is given: protocols that the platform implements. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from assets.sdk.values import Evidence, Json, Query, RuleOutcome, SlotResult, StoredResource


class FhirReader(Protocol):
    """Reads of the project's clinical data, as of the call. There is no write: see `Write`."""

    def read(self, resource_type: str, id: str) -> StoredResource:
        """Return one resource; AssetError `resource_not_found` (permanent) names a missing one."""
        ...

    def find(self, resource_type: str, id: str) -> StoredResource | None:
        """Return one resource, or None where there is none."""
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
    @property
    def retry_after(self) -> float | None:
        """The seconds that `Retry-After` asks for, at most an hour; None without a number."""
        ...

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


class Slot(Protocol):
    """A deployed connector, model or dataset that fills a slot of this asset."""

    @property
    def asset_id(self) -> str: ...
    @property
    def deployment_id(self) -> str: ...

    def invoke(self, action: str | None, input: Json) -> SlotResult:
        """Run an action of the slot's asset (None for a model). AssetError passes through."""
        ...


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
    def evidence(self) -> list[Evidence]: ...


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
