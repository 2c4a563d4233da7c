"""The system: search, batch and transaction, history; and what this server does not do yet."""

from django.http import HttpResponse
from rest_framework.request import Request

from fhir import store
from fhir.api.access import require_entry
from fhir.api.base import FhirView
from fhir.api.entries import EntryCalls
from fhir.api.history import history_links, history_options
from fhir.api.interactions import access_of_entry
from fhir.api.later import begin
from fhir.api.outcomes import outcome_of
from fhir.api.searching import answer_system_search, posted_pairs
from fhir.api.views.type import SearchingView
from fhir.bundles import historyset
from fhir.definitions import is_resource_type
from fhir.documents import JsonObject, parse
from fhir.errors import InvalidBundle, NotSupported, UnknownResourceType
from fhir.interactions.batch import batch
from fhir.interactions.bundle import Entry, changed_by, read_entries, response_bundle
from fhir.interactions.transaction import transaction
from fhir.operations.registry import R4_OPERATIONS, named, where
from fhir.search.several import types_named
from healthcloud.api.errors import describe, log_error
from healthcloud.api.principal import ANY_SCOPE
from healthcloud.errors import BadRequest, HealthCloudError, NotFound


class SystemView(FhirView):
    """`/v1/fhir`: search, batch, transaction.

    Each entry of a Bundle needs what its request would need by itself.
    """

    required_scopes = {"GET": "fhir:read", "POST": ANY_SCOPE}
    deferrable = frozenset({"GET"})

    def scope_needed(self, method: str) -> str | None:
        """Return the scope; a search needs that of each type that it names, checked when read."""
        types = types_named(self.query_pairs()) if method == "GET" else ()
        return f"{types[0]}:read" if types else super().scope_needed(method)

    def get(self, request: Request) -> HttpResponse:
        """Search the types that `_type` names, or all."""
        return answer_system_search(self, self.query_pairs())

    def post(self, request: Request) -> HttpResponse:
        """Do a batch or a transaction."""
        bundle = parse(self.sent())
        kind = str(bundle.data.get("type"))
        if bundle.resource_type != "Bundle" or kind not in {"batch", "transaction"}:
            raise InvalidBundle(
                "POST a Bundle of type batch or transaction here, and others to /v1/fhir/{type}.",
                param="Bundle.type",
            )
        if "respond-async" in self.prefer:
            for entry in read_entries(bundle):
                self.permit(entry)
            return begin(self, bundle)
        if kind == "transaction":
            answers = transaction(
                bundle=bundle,
                actor=self.actor,
                now=self.now,
                permit=self.permit,
                operate=self.calls,
            )
        else:
            answers = batch(
                bundle=bundle,
                actor=self.actor,
                now=self.now,
                failed=self.failed,
                permit=self.permit,
                operate=self.calls,
            )
        self.record_provenance(changed_by(answers))
        wish = self.prefer.get("return", "representation")
        return self.answer(response_bundle(f"{kind}-response", answers, wish=wish))

    @property
    def calls(self) -> EntryCalls:
        """Return what answers the entries that call operations."""
        return EntryCalls(self.principal, self.now, self.base)

    def permit(self, entry: Entry) -> None:
        """Refuse an entry that reads what the caller may not; record one that only reads."""
        require_entry(self.principal, entry)
        if not entry.is_write and entry.call != "metadata":
            self.record_access(access_of_entry(entry))

    def failed(self, error: Exception) -> tuple[int, JsonObject]:
        """Return status and OperationOutcome of an entry's error."""
        description = describe(error)
        log_error(error, description, self.request._request)
        code = getattr(error, "issue_code", None)
        return description.status, outcome_of(description, issue_code=code)


class SystemSearchView(SearchingView):
    """`/v1/fhir/_search`."""

    def get(self, request: Request) -> HttpResponse:
        """Search the types that `_type` names, or all."""
        return answer_system_search(self, self.query_pairs())

    def post(self, request: Request) -> HttpResponse:
        """Search the types that `_type` names, or all."""
        return answer_system_search(self, posted_pairs(self))


class SystemHistoryView(FhirView):
    """`/v1/fhir/_history`."""

    deferrable = frozenset({"GET"})

    def get(self, request: Request) -> HttpResponse:
        """Answer all versions in the project, newest first."""
        page = store.history(**history_options(self))
        links = history_links(self, page)
        return self.answer(historyset(page, base=self.base, links=links, now=self.now))


class UnknownFhirView(FhirView):
    """Every other address under /v1/fhir: what R4 defines is 501, the rest 404."""

    def get(self, request: Request, rest: str = "") -> HttpResponse:
        """Refuse, and say what the address would be."""
        names = rest.strip("/").split("/")
        operation = next((name for name in names if name.startswith("$")), None)
        if operation:
            raise _unknown_operation(operation[1:], rest)
        if not is_resource_type(names[0]):
            raise UnknownResourceType(names[0])
        raise NotFound(f"There is nothing at /v1/fhir/{rest[:120]}.")

    post = put = patch = delete = get


def _unknown_operation(name: str, rest: str) -> HealthCloudError:
    """Return what to say of an operation that no route knows: 400 with its places, 501 or 404."""
    served = named(name)
    if served or name == "validate":
        places = ", ".join(place for operation in served for place in where(operation))
        return BadRequest(
            f"`${name[:60]}` is not called at /v1/fhir/{rest[:120]} this way; it is at"
            f" {places or '{type}/$validate and {type}/{id}/$validate, by POST'}."
        )
    if name in R4_OPERATIONS:
        return NotSupported(f"This server does not do the operation `${name}`.")
    return NotFound(f"There is no operation `${name[:60]}`; /v1/fhir/metadata lists all.")
