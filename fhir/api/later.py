"""`Prefer: respond-async`: requests that are answered later. https://hl7.org/fhir/R4/async.html

A search, a history or an operation becomes the one entry of a batch, so that whatever is done
later is done by one job, and its answer is a batch-response.
"""

from urllib.parse import unquote

import orjson
from django.http import HttpRequest, HttpResponse

from fhir.api.access import require, require_entry
from fhir.api.base import FhirView, as_json
from fhir.api.entries import require_call
from fhir.api.negotiation import FORM, check_content_type
from fhir.deferred import defer
from fhir.documents import JsonObject, ParsedResource, parse
from fhir.interactions.bundle import Entry, check_address, read_entries
from fhir.interactions.provenance import read_provenance
from healthcloud.api.principal import Principal

_ROOT = "/v1/fhir"


def answer_later(view: FhirView) -> HttpResponse:
    """Answer 202 to a request that only reads; the job does it as the entry of a batch."""
    bundle = parse(orjson.dumps(_as_batch(view.request._request)))
    for entry in read_entries(bundle):
        check_address(entry)
        allow(view.principal, entry)
    return begin(view, bundle)


def allow(principal: Principal, entry: Entry) -> None:
    """Refuse an entry that the caller may not send."""
    require_entry(principal, entry)
    if entry.call:
        require_call(principal, entry)


def begin(view: FhirView, bundle: ParsedResource) -> HttpResponse:
    """Answer 202 with the address of the job that does a Bundle whose entries are allowed."""
    view.require_whole("`respond-async`")
    provenance = view.request.headers.get("X-Provenance")
    if provenance is not None:
        read_provenance(provenance)
        require(view.principal, "Provenance:write")
    job = defer(
        bundle=bundle,
        wish=view.prefer.get("return", "representation"),
        base=view.base,
        provenance=provenance,
        scopes=[scope for scope in view.principal.scopes if view.principal.can(scope)],
        actor=view.actor,
        now=view.now,
    )
    headers = {
        "Content-Location": f"{view.base}/_jobs/{job.id}",
        "Preference-Applied": "respond-async",
    }
    return view.answer(None, status=202, headers=headers)


def _as_batch(request: HttpRequest) -> JsonObject:
    """Return the batch with a request as its one entry."""
    query = str(request.META.get("QUERY_STRING", ""))
    entry: JsonObject = {}
    method = "GET" if request.method == "HEAD" else str(request.method)
    if method == "POST" and request.body.strip():
        kind = check_content_type(request.content_type or "", FORM)
        if kind == FORM:
            query = "&".join(filter(None, (query, request.body.decode("utf-8", "replace"))))
        else:
            entry["resource"] = orjson.Fragment(as_json(request.body, kind))
    path = unquote(request.path).removeprefix(_ROOT).strip("/")
    entry["request"] = {"method": method, "url": f"{path}?{query}" if query else path}
    return {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
