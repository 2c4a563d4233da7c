"""The FHIR handle of a call: reads in short transactions of their own, and no write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from assets.sdk import AssetError, Query, StoredResource
from fhir import search as fhir_search
from fhir import store
from fhir.errors import ResourceGone, ResourceNotFound
from fhir.stored import StoredResource as Stored
from healthcloud.errors import HealthCloudError
from healthcloud.tenancy.scope import Scope, tenant_scope

PAGE = 100


@dataclass(frozen=True, slots=True)
class FhirHandle:
    """Reads of one project's clinical data."""

    scope: Scope
    now: datetime
    readable: frozenset[str]
    """The types that the manifest declares (`provides.fhir`)."""

    def read(self, resource_type: str, id: str) -> StoredResource:
        """Return one resource; AssetError `resource_not_found` names a missing one."""
        found = self.find(resource_type, id)
        if found is None:
            raise AssetError(
                "resource_not_found",
                f"{resource_type}/{id} does not exist in this project.",
                remedy=f"Create {resource_type}/{id} first, or name one that exists.",
            )
        return found

    def find(self, resource_type: str, id: str) -> StoredResource | None:
        """Return one resource, or None where there is none."""
        self._check_declared(resource_type)
        try:
            with tenant_scope(self.scope, readonly=True):
                return _sdk(store.read(resource_type=resource_type, id=id))
        except (ResourceNotFound, ResourceGone):
            return None
        except HealthCloudError as error:
            raise AssetError("fhir_refused", error.message) from error

    def search(
        self, resource_type: str, query: Query, *, limit: int = 1000
    ) -> list[StoredResource]:
        """Return the matches in the order of the search, at most `limit`, page by page."""
        self._check_declared(resource_type)
        pairs = [*_pairs(query), ("_count", str(min(limit, PAGE)))]
        found: list[StoredResource] = []
        wanted: list[tuple[str, str]] | str | None = pairs
        try:
            with tenant_scope(self.scope, readonly=True):
                while wanted is not None and len(found) < limit:
                    page = fhir_search.search(
                        resource_type=resource_type, query=wanted, now=self.now
                    )
                    found.extend(_sdk(entry) for entry in page.entries)
                    wanted = page.next_query
        except HealthCloudError as error:
            raise AssetError("fhir_refused", error.message) from error
        return found[:limit]

    def first(self, resource_type: str, query: Query) -> StoredResource | None:
        """Return the first match, or None."""
        found = self.search(resource_type, query, limit=1)
        return found[0] if found else None

    def _check_declared(self, resource_type: str) -> None:
        if resource_type not in self.readable:
            raise AssetError(
                "not_permitted",
                f"The asset does not declare that it reads {resource_type}.",
                remedy="Add it to provides.fhir.reads of the manifest.",
            )


def _pairs(query: Query) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        values: Sequence[str] = [value] if isinstance(value, str) else value
        pairs.extend((name, item) for item in values)
    return pairs


def _sdk(stored: Stored) -> StoredResource:
    return StoredResource(stored.resource_type, stored.id, stored.version, dict(stored.resource))
