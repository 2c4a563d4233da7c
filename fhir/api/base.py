"""What all views of /v1/fhir share: scopes by type and verb, bytes out, errors as outcomes."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import ClassVar, Final

import msgspec
import orjson
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import http_date
from rest_framework.request import Request

from fhir.accesses import Access, Outcome, record
from fhir.api.access import require, require_subscription, require_verb
from fhir.api.binaries import SECURITY_CONTEXT, from_raw, is_raw
from fhir.api.interactions import VERB_OF, access_of
from fhir.api.negotiation import (
    CONTENT_TYPES,
    Format,
    NotAcceptable,
    acceptable_format,
    check_content_type,
    preferences,
)
from fhir.api.outcomes import information, outcome_of
from fhir.api.packing import unpack
from fhir.codecs.xml import from_xml, to_xml
from fhir.consents import (
    TREATMENT,
    consent_settings,
    purpose_of,
    record_override,
    require_break_glass,
)
from fhir.documents import JsonObject, parse
from fhir.errors import NotSupported
from fhir.interactions.provenance import read_provenance, record_provenance
from fhir.patches import PATCH_FORMATS
from fhir.sight import sight_of
from fhir.stored import StoredResource
from fhir.writing import refuse_invalid
from healthcloud.api.errors import ErrorDescription
from healthcloud.api.principal import Principal
from healthcloud.api.views import Handler, PlatformView
from healthcloud.errors import BadRequest, Forbidden
from healthcloud.tenancy.scope import tenant_scope

_BARE: Final = frozenset({202, 304})
_REFUSALS: Final[Mapping[int, Outcome]] = {403: "denied", 404: "failure", 410: "failure"}
_READS: Final = frozenset({"GET", "HEAD"})


class FhirView(PlatformView):
    """A view of the clinical store; every method needs a project, by key, header or query."""

    reads_json = False
    narrowable = True
    required_scopes: ClassVar[Mapping[str, str]] = {
        "GET": "fhir:read",
        "POST": "fhir:write",
        "PUT": "fhir:write",
        "PATCH": "fhir:write",
        "DELETE": "fhir:write",
    }
    project_required: ClassVar[frozenset[str]] = frozenset(
        {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
    )
    readonly: ClassVar[frozenset[str]] = _READS
    format: Format = "json"
    """What the client accepts."""
    deferrable: ClassVar[frozenset[str]] = frozenset()
    """Methods that only read, and are answered later where the client prefers it."""
    audited: ClassVar[bool] = True
    """Whether an access goes into the trail; not where nothing of a project is shown."""
    implied: ClassVar[Mapping[str, str]] = {}
    """What the address means without naming it, as `resource_type`."""
    consented: ClassVar[bool] = True
    """Whether Consents are heeded, in projects that have them enforced."""
    reason: str = ""
    """Why the request breaks the glass; empty where it does not."""
    _failure: Exception | None = None

    def scope_needed(self, method: str) -> str | None:
        """Return `Observation:read` or `Observation:write`, which `fhir:read|write` include."""
        declared = super().scope_needed(method)
        resource_type = str(self.kwargs.get("resource_type", ""))
        if declared is None or not resource_type[:1].isupper():
            return declared
        return f"{resource_type}:{declared.partition(':')[2]}"

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Find the format of the answer; refuse what can't be answered before anything is done."""
        if request.method == "OPTIONS":  # which methods there are is no secret
            return
        refusal = None
        try:
            self.format = acceptable_format(
                request.headers.get("Accept"), request.query_params.get("_format")
            )
        except NotAcceptable as error:
            refusal = error
        super().initial(request, *args, **kwargs)
        unpack(request._request)
        self._require_verb()
        if self._principal is not None:
            self._narrow(self._principal)
        wanted = request.query_params.get("_format") or request.headers.get("Accept", "")
        if refusal is not None and not self.is_acceptable(wanted):
            raise refusal

    @property
    def allowed_methods(self) -> list[str]:
        """Return what the header Allow names."""
        methods = self._declared_methods()
        return [*methods, *(("HEAD",) if "GET" in methods else ()), "OPTIONS"]

    def options(self, request: Request, *args: object, **kwargs: object) -> HttpResponse:  # type: ignore[override]  # no Response of DRF's
        """Answer which methods an address has, and what a patch may be written in."""
        headers = {"Allow": ", ".join(self.allowed_methods)}
        if "PATCH" in self._declared_methods():
            headers["Accept-Patch"] = ", ".join(PATCH_FORMATS)
        return HttpResponse(status=204, headers=headers)

    def _require_verb(self) -> None:
        """Refuse what a scope of SMART does not grant in the end: `rs` is no `c`."""
        named = {**self.implied, **self.kwargs}
        access = access_of(self.request._request, named, "denied")
        verb = VERB_OF.get(access.interaction)
        if verb is None or self._principal is None or not access.resource_type[:1].isupper():
            return
        require_verb(self._principal, access.resource_type, verb)

    def _narrow(self, principal: Principal) -> None:
        """Hold what the request sees and writes to scopes and consents, in the database."""
        headers = self.request._request.META
        breaks = "HTTP_X_BREAK_GLASS" in headers or "HTTP_PURPOSE_OF_USE" in headers
        purpose, self.reason = purpose_of(self.request.headers) if breaks else (TREATMENT, "")
        if self.reason:
            require_break_glass(principal)
        enforced = self._project is not None and self._project.enforces_consent
        held = enforced and self.consented and not self.reason
        if not held and not principal.is_narrowed:
            return
        interaction = access_of(self.request._request, self.kwargs, "denied").interaction
        verb = VERB_OF.get(interaction, "cud")
        sight = sight_of(principal, verb if verb in "cud" else "cud", anyway=True)
        if held:
            sight += consent_settings(principal, purpose=purpose, now=self.now)
        self.scope = replace(self.scope, sight=sight)

    def require_whole(self, what: str) -> None:
        """Refuse to a narrowed caller what works where nothing narrows it."""
        if self.scope.sight:
            raise Forbidden(f"{what} takes the whole project: this credential sees a part of it.")

    def is_acceptable(self, wanted: str) -> bool:
        """Tell whether the view answers a media type that is neither JSON nor XML of FHIR."""
        return False

    def _handle(self, handler: Handler, *args: object, **kwargs: object) -> HttpResponseBase:
        """Call the handler and record what it read, in the same transaction."""
        method = self._method()
        if self.reason and self.audited:
            handler = self._overriding(handler)
        if method in self.deferrable and "respond-async" in self.prefer:
            handler = self._later
        if not self.audited or self._principal is None or method not in self.readonly:
            return super()._handle(handler, *args, **kwargs)
        apart = method in self.own_transaction
        self.readonly = frozenset()  # type: ignore[misc]  # of this request: the trail is written

        def read(*given: object, **named: object) -> HttpResponseBase:
            response = handler(*given, **named)
            with tenant_scope(self.scope) if apart else nullcontext():
                self._record("success")
            return response

        return super()._handle(read, *args, **kwargs)

    def _overriding(self, handler: Handler) -> Handler:
        """Return a handler that keeps who broke the glass and why, with what it does."""

        def override(*args: object, **kwargs: object) -> HttpResponseBase:
            apart = self._method() in self.own_transaction
            with tenant_scope(self.scope) if apart else nullcontext():
                record_override(actor=self.actor, reason=self.reason, now=self.now)
            return handler(*args, **kwargs)

        return override

    def _later(self, request: Request, *args: object, **kwargs: object) -> HttpResponseBase:
        """Answer 202 and let a job do what was asked."""
        from fhir.api.later import answer_later  # it knows the views, and they know this one

        if self.principal.guard is not None:  # declined with nothing done: a job is several writes
            raise NotSupported("A request that is answered later goes the whole way.")
        return answer_later(self)

    def _record(self, outcome: Outcome) -> None:
        named = {**self.implied, **self.kwargs}
        access = access_of(self.request._request, named, outcome)
        self.record_access(replace(access, purpose=self.reason) if self.reason else access)

    def record_access(self, access: Access) -> None:
        """Add an access to the trail of the active tenant."""
        record(
            access,
            project=(self._project.number if self._project else None)
            or self.principal.project_number
            or 0,
            actor=self.actor,
            request_id=self.request_id,
            now=self.now,
        )

    def _record_refusal(self, status: int) -> None:
        """Record an access that was denied, or found nothing; its own transaction is gone."""
        if self.audited and self._principal is not None and status in _REFUSALS:
            with tenant_scope(self.principal.scope_of(self._project or self.principal.project)):
                self._record(_REFUSALS[status])

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]  # any response, as in the kit
        """Keep the exception: its issue code belongs in the outcome."""
        self._failure = exc
        response = super().handle_exception(exc)
        self._record_refusal(response.status_code)
        return response

    def render_error(self, error: ErrorDescription) -> HttpResponseBase:
        """Answer the OperationOutcome of an error."""
        code = getattr(self._failure, "issue_code", None)
        outcome = outcome_of(error, issue_code=code, request_id=self.request_id)
        response = self.answer(outcome, status=error.status)
        version = getattr(self._failure, "version", None)
        if version is not None:
            response["ETag"] = f'W/"{version}"'
        return response

    # --- requests -----------------------------------------------------------------------------

    @property
    def base(self) -> str:
        """Return the address of the FHIR root as the client reached it."""
        request = self.request._request
        return f"{request.scheme}://{request.get_host()}/v1/fhir"

    @property
    def prefer(self) -> Mapping[str, str]:
        """Return the client's preferences."""
        return preferences(self.request.headers.get("Prefer"))

    def query_pairs(self) -> list[tuple[str, str]]:
        """Return the query parameters in their order, repeats included."""
        query = self.request.query_params
        return [(name, value) for name, values in query.lists() for value in values]

    def sent(self) -> bytes:
        """Return the resource in the body as JSON text; XML is read into it."""
        kind = check_content_type(self.request.content_type or "")
        return as_json(self.raw_body(), kind)

    def sent_for(self, resource_type: str, id: str | None = None) -> bytes:
        """Return the body of a write; refuse a Subscription to what the caller may not read."""
        kind = self.request.content_type or ""
        if resource_type == "Binary" and is_raw(kind):
            context = self.request.headers.get(SECURITY_CONTEXT)
            return from_raw(self.raw_body(), kind, context=context, rid=id)
        body = self.sent()
        if resource_type == "Subscription":
            resource = parse(body)
            refuse_invalid(resource)
            require_subscription(self.principal, resource.data)
        return body

    def raw_body(self) -> bytes:
        """Return the body; refuse an empty one."""
        body = self.request._request.body
        if not body.strip():
            raise BadRequest("The request has no body: send a FHIR resource as JSON or XML.")
        return body

    # --- answers ------------------------------------------------------------------------------

    def answer(
        self,
        content: bytes | JsonObject | None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        """Return a response in the client's format; as JSON, stored bytes go out as they are."""
        body = orjson.dumps(content) if isinstance(content, dict) else content or b""
        if isinstance(content, dict) and "resourceType" not in content:  # a manifest of files
            return HttpResponse(
                body, status=status, content_type="application/json", headers=headers
            )
        if body and (self.format != "json" or "_pretty" in self._query_text):
            body = spelled(
                body, self.format, pretty=self.request.query_params.get("_pretty") == "true"
            )
        response = HttpResponse(
            body, status=status, content_type=CONTENT_TYPES[self.format], headers=headers
        )
        if not body and status in _BARE:  # nothing that a client should try to read
            del response["Content-Type"]
        return response

    @property
    def _query_text(self) -> str:
        return str(self.request._request.META.get("QUERY_STRING", ""))

    def record_provenance(self, references: Sequence[str]) -> None:
        """Store the Provenance of the header `X-Provenance` for versions that were written."""
        header = self.request.headers.get("X-Provenance")
        if header is None:
            return
        provenance = read_provenance(header)
        require(self.principal, "Provenance:write")
        if references:
            record_provenance(
                provenance=provenance, references=references, actor=self.actor, now=self.now
            )

    def written(self, resource: StoredResource, *, status: int | None = None) -> HttpResponse:
        """Return the answer to a write: 201 or 200, and what `Prefer: return` asks for."""
        self.record_provenance([resource.versioned_reference] if resource.is_new else [])
        code = status or (201 if resource.created else 200)
        wish = self.prefer.get("return", "representation")
        content: bytes | JsonObject | None = resource.content
        if wish == "minimal":
            content = None
        elif wish == "OperationOutcome":
            verb = "created" if resource.created else "updated"
            content = information(f"{resource.versioned_reference} was {verb}.")
        headers = version_headers(resource)
        headers["Location"] = f"{self.base}/{resource.versioned_reference}"
        return self.answer(content, status=code, headers=headers)


def version_headers(resource: StoredResource) -> dict[str, str]:
    """Return ETag and Last-Modified of a version."""
    return {
        "ETag": resource.etag,
        "Last-Modified": http_date(resource.updated_at.timestamp()),
    }


def as_json(body: bytes, kind: str) -> bytes:
    """Return the JSON text of a body of a kind that `check_content_type` told."""
    return from_xml(body) if kind == "xml" else body


def spelled(body: bytes, kind: Format, *, pretty: bool) -> bytes:
    """Return JSON text in a format, indented or not; numbers keep their digits."""
    if kind == "json":
        return msgspec.json.format(body, indent=2) if pretty else body
    return to_xml(body, pretty=pretty)
