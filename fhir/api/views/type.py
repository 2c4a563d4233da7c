"""One type: search, create, conditional update and delete, history."""

from django.http import HttpResponse
from rest_framework.request import Request

from fhir import store
from fhir.api.access import require, require_condition
from fhir.api.base import FhirView
from fhir.api.history import history_links, history_options
from fhir.api.outcomes import information
from fhir.api.searching import answer_search, posted_pairs
from fhir.bundles import historyset
from fhir.identity import check_type
from fhir.interactions.patch import patch_where
from fhir.patches import read_patch


class TypeView(FhirView):
    """`/v1/fhir/{type}`."""

    deferrable = frozenset({"GET"})

    def is_acceptable(self, wanted: str) -> bool:
        """Accept any media type for the answer to a Binary that was sent."""
        return bool(self.request.method == "POST" and self.kwargs.get("resource_type") == "Binary")

    def get(self, request: Request, resource_type: str) -> HttpResponse:
        """Search the type."""
        return answer_search(self, resource_type, self.query_pairs())

    def post(self, request: Request, resource_type: str) -> HttpResponse:
        """Create a resource, unless If-None-Exist finds it."""
        check_type(resource_type)
        condition = request.headers.get("If-None-Exist")
        if condition:
            require_condition(self.principal, resource_type, condition)
        result = store.create(
            resource=self.sent_for(resource_type),
            resource_type=resource_type,
            actor=self.actor,
            now=self.now,
            if_none_exist=condition,
        )
        return self.written(result)

    def put(self, request: Request, resource_type: str) -> HttpResponse:
        """Update the one resource that matches the query, or create it."""
        result = store.update_where(
            resource_type=resource_type,
            criteria=self.condition(resource_type),
            resource=self.sent_for(resource_type),
            actor=self.actor,
            now=self.now,
            if_match=request.headers.get("If-Match"),
        )
        return self.written(result)

    def patch(self, request: Request, resource_type: str) -> HttpResponse:
        """Patch the one resource that matches the query."""
        if resource_type == "Subscription":  # it may ask for anything once it is patched
            require(self.principal, "fhir:read")
        result = patch_where(
            resource_type=resource_type,
            criteria=self.condition(resource_type),
            patch=read_patch(self.raw_body(), request.content_type or ""),
            actor=self.actor,
            now=self.now,
            if_match=request.headers.get("If-Match"),
        )
        return self.written(result)

    def delete(self, request: Request, resource_type: str) -> HttpResponse:
        """Delete the resource that matches the query, or all that do where the server is set so."""
        gone = store.delete_where(
            resource_type=resource_type,
            criteria=self.condition(resource_type),
            actor=self.actor,
            now=self.now,
            if_match=request.headers.get("If-Match"),
        )
        self.record_provenance([deletion.versioned_reference for deletion in gone])
        if len(gone) == 1:
            return self.answer(None, status=204, headers={"ETag": f'W/"{gone[0].version}"'})
        how_many = (
            f"{len(gone)} {resource_type} resources match and are"
            if gone
            else (f"No {resource_type} matches; nothing was")
        )
        return self.answer(information(f"{how_many} deleted."))

    def condition(self, resource_type: str) -> str:
        """Return the query as a condition, which only those may set who may search by it."""
        query = str(self.request._request.META.get("QUERY_STRING", ""))
        check_type(resource_type)
        require_condition(self.principal, resource_type, query)
        return query


class SearchingView(FhirView):
    """An address that only searches: the parameters are in a form, the query or both."""

    required_scopes = {"GET": "fhir:read", "POST": "fhir:read"}
    readonly = frozenset({"GET", "HEAD", "POST"})
    idempotent = frozenset()
    deferrable = frozenset({"GET", "POST"})


class SearchView(SearchingView):
    """`/v1/fhir/{type}/_search`."""

    def get(self, request: Request, resource_type: str) -> HttpResponse:
        """Search the type."""
        return answer_search(self, resource_type, self.query_pairs())

    def post(self, request: Request, resource_type: str) -> HttpResponse:
        """Search the type."""
        return answer_search(self, resource_type, posted_pairs(self))


class TypeHistoryView(FhirView):
    """`/v1/fhir/{type}/_history`."""

    deferrable = frozenset({"GET"})

    def get(self, request: Request, resource_type: str) -> HttpResponse:
        """Answer all versions of a type, newest first."""
        page = store.history(resource_type=resource_type, **history_options(self))
        links = history_links(self, page)
        return self.answer(historyset(page, base=self.base, links=links, now=self.now))
