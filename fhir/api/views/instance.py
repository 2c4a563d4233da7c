"""One resource: read, vread, update, delete, history. https://hl7.org/fhir/R4/http.html"""

from datetime import datetime
from email.utils import parsedate_to_datetime

from django.http import HttpResponse
from rest_framework.request import Request

from fhir import store
from fhir.api.access import require
from fhir.api.base import FhirView, version_headers
from fhir.api.binaries import content_of, wants_content
from fhir.api.history import history_links, history_options
from fhir.bundles import historyset
from fhir.documents import parse
from fhir.errors import ResourceMismatch
from fhir.identity import check_type
from fhir.interactions.patch import patch
from fhir.interactions.read import is_known, part_of
from fhir.patches import read_patch
from fhir.stored import StoredResource


class InstanceView(FhirView):
    """`/v1/fhir/{type}/{id}`."""

    def is_acceptable(self, wanted: str) -> bool:
        """Accept any media type for a Binary, which may be of that type."""
        return bool(self.kwargs.get("resource_type") == "Binary")

    def get(self, request: Request, resource_type: str, id: str) -> HttpResponse:
        """Answer the current version, or 304 where the client has it."""
        found = store.read(resource_type=resource_type, id=id)
        return answer_version(self, found)

    def put(self, request: Request, resource_type: str, id: str) -> HttpResponse:
        """Store the next version, or the first."""
        check_type(resource_type)
        parsed = parse(self.sent_for(resource_type, id))
        if parsed.id is None:
            raise ResourceMismatch(f"The body must have the id `{id}`, as the address.", param="id")
        result = store.update(
            resource_type=resource_type,
            id=id,
            resource=parsed,
            actor=self.actor,
            now=self.now,
            if_match=request.headers.get("If-Match"),
            if_none_match=request.headers.get("If-None-Match"),
        )
        return self.written(result)

    def patch(self, request: Request, resource_type: str, id: str) -> HttpResponse:
        """Apply a patch; what it tests and answers is read, too."""
        check_type(resource_type)
        require(self.principal, f"{resource_type}:read")
        if resource_type == "Subscription":  # it may ask for anything once it is patched
            require(self.principal, "fhir:read")
        result = patch(
            resource_type=resource_type,
            id=id,
            patch=read_patch(self.raw_body(), request.content_type or ""),
            actor=self.actor,
            now=self.now,
            if_match=request.headers.get("If-Match"),
        )
        return self.written(result)

    def delete(self, request: Request, resource_type: str, id: str) -> HttpResponse:
        """Delete; also what is gone already."""
        version = store.delete(
            resource_type=resource_type,
            id=id,
            actor=self.actor,
            now=self.now,
            if_match=request.headers.get("If-Match"),
        )
        self.record_provenance([f"{resource_type}/{id}/_history/{version}"] if version else [])
        headers = {"ETag": f'W/"{version}"'} if version else None
        return self.answer(None, status=204, headers=headers)


class VersionView(FhirView):
    """`/v1/fhir/{type}/{id}/_history/{version}`."""

    is_acceptable = InstanceView.is_acceptable

    def get(self, request: Request, resource_type: str, id: str, version: str) -> HttpResponse:
        """Answer one version."""
        found = store.vread(resource_type=resource_type, id=id, version=version)
        return answer_version(self, found)


class InstanceHistoryView(FhirView):
    """`/v1/fhir/{type}/{id}/_history`."""

    def get(self, request: Request, resource_type: str, id: str) -> HttpResponse:
        """Answer all versions, newest first."""
        page = store.history(resource_type=resource_type, id=id, **history_options(self))
        links = history_links(self, page)
        return self.answer(historyset(page, base=self.base, links=links, now=self.now))


def answer_version(view: FhirView, found: StoredResource) -> HttpResponse:
    """Answer a version, the part of it that `_summary` or `_elements` ask for, or 304."""
    headers = view.request.headers
    known = is_known(
        found,
        if_none_match=headers.get("If-None-Match"),
        if_modified_since=_http_date(headers.get("If-Modified-Since")),
    )
    if known:
        return view.answer(None, status=304, headers=version_headers(found))
    if found.resource_type == "Binary" and _wants_content(view, found):
        return content_of(found, version_headers(found))
    return view.answer(part_of(found, view.query_pairs()), headers=version_headers(found))


def _wants_content(view: FhirView, found: StoredResource) -> bool:
    """Tell whether the client wants the bytes of a Binary."""
    query = view.request.query_params
    if "_summary" in query or "_elements" in query:
        return False
    wanted = query.get("_format") or view.request.headers.get("Accept") or "*/*"
    return wants_content(wanted.replace(" ", "+") if "_format" in query else wanted,
                         str(found.resource.get("contentType", "")))  # fmt: skip


def _http_date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text else None
    except (TypeError, ValueError):
        return None
    return moment if moment is None or moment.tzinfo else None
