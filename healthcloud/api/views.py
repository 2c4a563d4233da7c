"""The base of every view of the platform API: scope declared, tenant entered, scope answered."""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import date, datetime
from http import HTTPStatus
from typing import Any, ClassVar, Final, cast

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from healthcloud.actors import Actor
from healthcloud.api import idempotency, throttling
from healthcloud.api.errors import NO_SCOPE, ErrorDescription, describe, log_error
from healthcloud.api.parsers import maximum_body_bytes
from healthcloud.api.principal import Principal, ProjectReference, require_environment
from healthcloud.api.request_ids import request_id
from healthcloud.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    PayloadTooLarge,
    Unauthorized,
)
from healthcloud.tenancy.deadlocks import despite_deadlocks
from healthcloud.tenancy.models import ProjectScoped
from healthcloud.tenancy.pipeline import Refused
from healthcloud.tenancy.scope import (
    DirectEntry,
    ProjectRequired,
    Scope,
    direct_scope,
    tenant_scope,
)

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
NO_METHODS: Final[frozenset[str]] = frozenset()
API_VERSION: Final = "2026-11-01"
_RATE: Final = "healthcloud.rate"  # no header's name in an environment looks like this
_BARE_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")

Handler = Callable[..., HttpResponseBase]


class PlatformView(APIView):
    """A view of `/v1`: denies undeclared methods, runs in the caller's tenant, answers its scope.

    A handler finds `self.principal`, `self.actor`, `self.now`, `self.scope` and `self.body`, runs
    inside `tenant_scope(self.scope)` (one transaction, rolled back on any error) and returns a
    Response whose dict is completed with the scope metadata, or any HttpResponse as it is.
    """

    required_scopes: ClassVar[Mapping[str, str]] = {}
    """The scope that each method needs; a method that is not named here is denied."""

    project_required: ClassVar[frozenset[str]] = WRITES
    """Methods that are refused with 400 when neither key nor request names a project."""

    addressed_row: ClassVar[tuple[str, type[ProjectScoped]] | None] = None
    """The argument of the address that names a row, and its model: an organization-wide key that
    names no project means that row's."""

    archived_allowed: ClassVar[frozenset[str]] = frozenset({"GET", "HEAD"})
    """Methods that may still be used on an archived project."""

    own_transaction: ClassVar[frozenset[str]] = NO_METHODS
    """Methods whose handler opens `tenant_scope(self.scope)` itself, as often as it needs."""

    readonly: ClassVar[frozenset[str]] = NO_METHODS
    """Methods during which the database refuses writes."""

    idempotent: ClassVar[frozenset[str]] = frozenset({"POST"})
    # Methods of `own_transaction` that keep their answer themselves, by `answered_once`.
    keeps_answers: ClassVar[frozenset[str]] = NO_METHODS
    """Methods that honor the header `Idempotency-Key`."""

    narrowable: ClassVar[bool] = False
    """Whether it heeds scopes that leave out resources of their type; elsewhere they say nothing,
    and tokens of apps are refused."""

    reads_json: ClassVar[bool] = True
    """Whether the body is platform JSON, whose `project_id` and `environment` the kit reads."""

    weight: ClassVar[int] = 1
    """How many tokens of the rate limit a request takes."""

    metadata_class = None
    now: datetime
    scope: Scope
    _project: ProjectReference | None = None
    _principal: Principal | None = None
    _rate: throttling.Rate | None = None
    _entry: DirectEntry | None = None
    _held: idempotency.IdempotentRequest | None = None

    # --- what handlers use --------------------------------------------------------------------

    @property
    def principal(self) -> Principal:
        """Return the authenticated caller."""
        if self._principal is None:
            raise Unauthorized("Sign in, or send an API key.")
        return self._principal

    @property
    def actor(self) -> Actor:
        """Return the caller as services, audit and events name it."""
        return self.principal.actor

    @property
    def body(self) -> dict[str, object]:
        """Return the members of the JSON body; empty without one."""
        data = self.request.data
        return cast("dict[str, object]", data) if isinstance(data, dict) else {}

    @property
    def request_id(self) -> str:
        """Return the id of this request."""
        return request_id(self.request._request)

    def validated(
        self, serializer: type[BaseSerializer[Any]], *, partial: bool = False
    ) -> dict[str, Any]:
        """Return the body as the serializer reads it; raise 422 naming each field otherwise."""
        reader = serializer(data=self.body, partial=partial, context={"view": self})
        reader.is_valid(raise_exception=True)
        return dict(reader.validated_data)

    def answer_in(self, project: ProjectReference | None) -> None:
        """Let the answer carry this project, such as the one that the address names."""
        self._project = project

    def answer_for(self, principal: Principal) -> None:
        """Let the answer carry the scope of another caller, such as a new organization's owner."""
        self._principal, self._project = principal, None

    # --- what subclasses may replace ----------------------------------------------------------

    def scope_needed(self, method: str) -> str | None:
        """Return the scope a method needs, None to deny it."""
        return self.required_scopes.get(method)

    def render_error(self, error: ErrorDescription) -> HttpResponseBase:
        """Return the answer to an error; FHIR views answer an OperationOutcome instead."""
        body = error.body(request_id=self.request_id) | self.scope_metadata()
        return Response(body, status=error.status)

    def scope_metadata(self) -> dict[str, str | None]:
        """Return the three members of each answer, null where the request has none."""
        principal = self._principal
        if principal is None:
            return dict(NO_SCOPE)
        project = self._project or principal.project
        return {
            "organization_id": principal.organization_id,
            "project_id": project.id if project else None,
            "environment": principal.environment,
        }

    def perform_content_negotiation(
        self, request: Request, force: bool = False
    ) -> tuple[BaseRenderer, str]:
        """Answer JSON whatever the client accepts."""
        renderer = self.get_renderers()[0]
        return renderer, str(renderer.media_type)

    # --- the life of a request ----------------------------------------------------------------

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Authenticate, authorize, limit, enter the tenant, call the handler, answer."""
        self._begin(request, *args, **kwargs)
        try:
            self.initial(self.request, *args, **kwargs)
            response = self._handle(self._handler(), *args, **kwargs)
        except Exception as error:
            response = self.handle_exception(error)
        return self._finish(response, *args, **kwargs)

    def answer_directly(
        self, request: HttpRequest, principal: Principal, **kwargs: object
    ) -> HttpResponseBase | None:
        """Answer a caller who was remembered, or return None: then `dispatch` must, afresh.

        The rules are those of `dispatch`; each group of statements enters the tenant by itself
        and only as long as the caller's guard holds. What is refused before the database has
        confirmed the caller is None, as it may rest on what was remembered.
        """
        self._begin(request, **kwargs)
        self.request.auth = principal
        try:
            self.initial(self.request, **kwargs)
            response = self._handle(self._handler(), **kwargs)
        except Exception as error:
            if self._entry is None or not self._entry.groups:
                return None
            response = self.handle_exception(error)
        return self._finish(response, **kwargs)

    def _begin(self, request: HttpRequest, *args: object, **kwargs: object) -> None:
        self.args, self.kwargs = args, kwargs
        self.now = timezone.now()
        self.request = self.initialize_request(request, *args, **kwargs)
        self.headers: dict[str, str] = {}

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Do all that must be right before the handler runs."""
        self.format_kwarg = self.get_format_suffix(**kwargs)
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(
            request
        )
        self._authenticate()  # first, so that whatever is refused below answers its scope
        self._check_version()
        self._check_address()
        if self.reads_json and request.method in WRITES:
            self._read_body(request._request)
        if self._method() not in self._declared_methods():
            self.http_method_not_allowed(request, *args, **kwargs)
        self.check_permissions(request)
        if self._principal is not None:
            self._take_tokens(request._request.META, self._principal)
            self._enter_project()

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]  # any response, as DRF does in fact
        """Answer an exception in the one shape."""
        description = describe(exc)
        log_error(exc, description, self.request._request)
        response = self.render_error(description)
        for name, value in description.headers.items():
            response[name] = value
        if description.status == HTTPStatus.METHOD_NOT_ALLOWED:
            response["Allow"] = ", ".join(self.allowed_methods)
        return response

    def _check_address(self) -> None:
        """Refuse the character U+0000, which no id has and the database can't compare."""
        request = self.request._request
        if "\x00" in request.path or "%00" in request.META.get("QUERY_STRING", ""):
            raise BadRequest("The address holds the character U+0000.")

    def _read_body(self, request: HttpRequest) -> None:
        """Read the body once, bounded, so that its bytes can be parsed and fingerprinted."""
        length = request.META.get("CONTENT_LENGTH") or "0"
        if str(length).isdigit() and int(length) > maximum_body_bytes():
            raise PayloadTooLarge(f"The body is larger than {maximum_body_bytes()} bytes.")
        _ = request.body

    def _take_tokens(self, environ: dict[str, object], principal: Principal) -> None:
        """Take the request's tokens of the rate limit, once however often it is begun."""
        if _RATE not in environ:
            environ[_RATE] = throttling.take(principal, weight=self.weight)
        self._rate = cast("throttling.Rate | None", environ[_RATE])

    def _authenticate(self) -> None:
        principal = self.request.auth
        if not isinstance(principal, Principal):
            return
        self._principal = principal
        if self.narrowable:
            return
        if principal.client_id:
            raise Forbidden("The token of an app is good for the FHIR API (/v1/fhir) only.")
        if principal.is_narrowed:
            self._principal = self.request.auth = principal.without_narrowed_scopes()

    def _method(self) -> str:
        return "GET" if self.request.method == "HEAD" else str(self.request.method)

    def _declared_methods(self) -> list[str]:
        return [name.upper() for name in ("get", "post", "put", "patch", "delete")
                if hasattr(self, name)]  # fmt: skip

    @property
    def allowed_methods(self) -> list[str]:
        """Return what the header Allow names."""
        return self._declared_methods()

    def _handler(self) -> Handler:
        return cast("Handler", getattr(self, str(self.request.method).lower()))

    def _handle(self, handler: Handler, *args: object, **kwargs: object) -> HttpResponseBase:
        if self._principal is None:
            return handler(self.request, *args, **kwargs)
        method = self._method()
        own = method in self.own_transaction
        key = self.request.headers.get(idempotency.HEADER) if method in self.idempotent else None

        def call() -> HttpResponseBase:
            return handler(self.request, *args, **kwargs)

        def hold(held: idempotency.IdempotentRequest) -> HttpResponseBase:
            self._held = held
            return call()

        if key is not None and own and method not in self.keeps_answers:
            return idempotency.run_apart(self._idempotent_request(key), hold, scope=self.scope)
        if own:
            return call()

        def enter() -> HttpResponseBase:
            with self.entered(readonly=method in self.readonly):
                if key is not None:
                    return idempotency.run(self._idempotent_request(key), call)
                return call()

        return despite_deadlocks(enter)

    def answered_once(self, call: Callable[[], HttpResponseBase]) -> HttpResponseBase:
        """Call in a transaction, which also keeps the answer of a request with a key.

        So a request that died unanswered can be repeated at once: either nothing was done, or its
        answer is there.
        """
        key = self.request.headers.get(idempotency.HEADER)
        if key is None:
            with self.entered():
                return call()
        with tenant_scope(self.scope):
            return idempotency.run(self._idempotent_request(key), call)

    def answered_later(self, response: HttpResponseBase) -> HttpResponseBase:
        """Answer what has become of it since, and keep that instead for a request with a key."""
        key = self.request.headers.get(idempotency.HEADER)
        if key is not None:
            with tenant_scope(self.scope):
                idempotency.replace(self._idempotent_request(key), response)
        return response

    def keep_answer(self, response: HttpResponseBase) -> None:
        """Store the answer of a request with a key in the open transaction, that of its effect.

        For methods of `own_transaction`, whose answer is else stored after the effect: the same
        request would be done twice if the process died in between.
        """
        if self._held is not None:
            idempotency.keep(self._held, response)

    def entered(self, *, readonly: bool = False) -> AbstractContextManager[Scope]:
        """Enter the tenant: in a transaction, or directly for a caller who was remembered."""
        if self.scope.sight and self.principal.guard is not None:
            raise Refused  # what is narrowed goes the whole way
        if self.principal.guard is None:
            return tenant_scope(self.scope, readonly=readonly)
        guard = self.principal.guard(self._project)
        reads = self._method() in type(self).readonly  # whatever is recorded of it
        self._entry = DirectEntry(self.scope, guard, readonly=readonly, repeats=reads)
        return direct_scope(self._entry)

    def _idempotent_request(self, key: str) -> idempotency.IdempotentRequest:
        request = self.request._request
        return idempotency.IdempotentRequest.build(
            key=key,
            project_id=self.scope.project_id or "",
            caller=" ".join(
                [self.actor.id, *sorted(self.principal.scopes), *self.principal.launched_for]
            ),
            method=str(request.method),
            path=request.get_full_path(),
            body=request.body,
            now=self.now,
            complete=self._complete,
        )

    def _complete(self, response: HttpResponseBase) -> HttpResponseBase:
        """Put the scope metadata into a JSON body."""
        if isinstance(response, Response) and isinstance(response.data, dict) and self.reads_json:
            response.data = {**self.scope_metadata(), **response.data}
        return response

    def _finish(
        self, response: HttpResponseBase, *args: object, **kwargs: object
    ) -> HttpResponseBase:
        response = self._complete(response)
        self._put_headers(response)
        self.response = self.finalize_response(self.request, response, *args, **kwargs)  # type: ignore[arg-type]  # DRF passes every response through
        return self.response

    def _put_headers(self, response: HttpResponseBase) -> None:
        metadata = self.scope_metadata()
        body = getattr(response, "data", None)
        if isinstance(body, dict) and self.reads_json:  # a row may know its project better
            metadata = {name: body.get(name, value) for name, value in metadata.items()}
        response["HealthCloud-Organization-Id"] = metadata["organization_id"] or "null"
        response["HealthCloud-Project-Id"] = metadata["project_id"] or "null"
        response["HealthCloud-Environment"] = metadata["environment"] or "null"
        response["HealthCloud-Version"] = getattr(self, "version_date", API_VERSION)
        response["Cache-Control"] = response.get("Cache-Control", "no-store")
        if self._rate is not None:
            for name, value in self._rate.headers().items():
                response[name] = value

    def _check_version(self) -> None:
        named = self.request.headers.get("HealthCloud-Version")
        if named is None:
            return
        try:
            if not _BARE_DATE.fullmatch(named):
                raise ValueError(named)
            date.fromisoformat(named)
        except ValueError as error:
            raise BadRequest(
                f"`HealthCloud-Version` is a date such as `{API_VERSION}`.",
                param="HealthCloud-Version",
            ) from error
        self.version_date = named

    def _enter_project(self) -> None:
        """Find out which project and environment the request means, and refuse the wrong ones."""
        method = self._method()
        self._check_environment(self.request.query_params.get("environment"))
        if self.reads_json and method in WRITES and "environment" in self.body:
            self._check_environment(self.body["environment"])
        named = self._named_project()
        if named is None and self.principal.project is None:
            named = self._project_of_row()
        self._project = self.principal.resolve_project(named)
        self.scope = self.principal.scope_of(self._project)
        if self._project is None:
            if method in self.project_required:
                raise ProjectRequired
        elif self._project.archived and method not in self.archived_allowed:
            raise Conflict(
                f"Project `{self._project.id}` is archived and can't be changed. Restore it with"
                ' PATCH /v1/projects/{id} {"status": "active"}.',
                param="project_id",
            )

    def _project_of_row(self) -> str | None:
        """Return the project of the row that the address names, None where it names none."""
        if self.addressed_row is None:
            return None
        argument, model = self.addressed_row
        identifier = self.kwargs[argument]
        with tenant_scope(self.principal.scope_of(None)):
            rows = model._default_manager.filter(pk=identifier)
            found = rows.values_list("project_id", flat=True).first()
        if found is None:
            raise NotFound(f"There is no `{identifier}` here.")
        return found

    def _check_environment(self, named: object) -> None:
        if named is not None and self.reads_json:
            require_environment(self.principal, named)

    def _named_project(self) -> str | None:
        """Return the project that the body, the query or the header names; they must agree."""
        named: list[object] = []
        if self.reads_json and self._method() in WRITES:
            named.append(self.body.get("project_id"))
        named.append(self.request.query_params.get("project_id"))
        named.append(self.request.headers.get("HealthCloud-Project"))
        named = [project for project in named if project is not None]
        if any(not isinstance(project, str) or not project for project in named):
            raise BadRequest("`project_id` is text such as `proj_…`.", param="project_id")
        found = set(named)
        if len(found) > 1:
            raise BadRequest("The request names two different projects.", param="project_id")
        return cast("str | None", next(iter(found), None))


class UnknownRoute(PlatformView):
    """Answers every address under /v1 that no other route knows."""

    schema = None

    def initial(self, request: Request, *args: object, **kwargs: object) -> None:
        """Say 404 whoever asks; a valid credential still gets its scope answered."""
        try:
            self._authenticate()
        except Exception:
            self._principal = None
        raise NotFound(f"There is no route {request.method} {request.path}; see /v1/openapi.json.")
