"""The views of operations: one route for each level of each operation in the registry.

https://hl7.org/fhir/R4/operations.html#executing
"""

from typing import Any, Final

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, re_path
from rest_framework.request import Request

from fhir.api.base import FhirView, as_json
from fhir.api.negotiation import check_content_type
from fhir.documents import ParsedResource, parse
from fhir.identity import check_id, check_type
from fhir.operations.calling import given_to
from fhir.operations.operation import LEVELS, Answer, Call, Level, Operation
from fhir.operations.registry import operations

_TYPE: Final = r"^fhir/(?P<resource_type>{types})"
_ID: Final = r"/(?P<id>(?!_history(?:/|$)|_search(?:/|$)|\$)[^/]+)"


class OperationView(FhirView):
    """An operation that affects the state of the server: POST only."""

    operation: Operation = None  # type: ignore[assignment]  # given to as_view
    level: Level = "system"

    def scope_needed(self, method: str) -> str | None:
        """Return the scope of the operation, or read or write of the type in the address."""
        operation = self.operation
        resource_type = self.kwargs.get("resource_type") or "fhir"
        return operation.scope or f"{resource_type}:{operation.access}"

    def is_acceptable(self, wanted: str) -> bool:
        """Tell whether the operation answers a media type of its own."""
        return any(kind in wanted for kind in self.operation.answers)

    def post(self, request: Request, resource_type: str = "", id: str = "") -> HttpResponseBase:
        """Call the operation with parameters in the body, the query or both."""
        return self._call(resource_type, id)

    def _call(self, resource_type: str, id: str) -> HttpResponseBase:
        if resource_type and resource_type not in self.operation.types:
            check_type(resource_type)
        if id:
            check_id(id)
        if self.operation.is_refused_to_a_part(narrowed=self.principal.is_narrowed):
            self.require_whole(f"`${self.operation.name}`")
        answer = self.operation.run(self._call_of(resource_type, id))
        if not isinstance(answer, Answer):
            return self.answer(answer)
        if answer.content_type:
            body = answer.content if isinstance(answer.content, bytes) else b""
            return HttpResponse(
                body,
                status=answer.status,
                content_type=answer.content_type,
                headers=dict(answer.headers),
            )
        return self.answer(answer.content, status=answer.status, headers=answer.headers)

    def _call_of(self, resource_type: str, id: str) -> Call:
        request = self.request._request
        raw, body = self._body()
        given, body = given_to(self.operation, self.query_pairs(), body)
        return Call(
            level=self.level,
            parameters=given,
            principal=self.principal,
            now=self.now,
            base=self.base,
            address=f"{request.scheme}://{request.get_host()}{request.path}",
            method=str(request.method),
            resource_type=resource_type,
            id=id,
            body=body,
            raw=raw,
            content_type=self.request.content_type or "",
            query=str(request.META.get("QUERY_STRING", "")),
            prefer=self.prefer,
            is_archived=bool(self._project and self._project.archived),
            accept=request.GET.get("_format") or request.headers.get("Accept", ""),
        )

    def _body(self) -> tuple[bytes, ParsedResource | None]:
        request = self.request._request
        if request.method != "POST" or not request.body.strip():
            return b"", None
        kind = check_content_type(self.request.content_type or "", *self.operation.media)
        if kind in self.operation.media:
            return request.body, None
        text = as_json(request.body, kind)
        return text, parse(text)


class ReadOperationView(OperationView):
    """An operation that only reads: GET, and POST where the parameters don't fit an address."""

    readonly = frozenset({"GET", "HEAD", "POST"})
    idempotent = frozenset()

    def get(self, request: Request, resource_type: str = "", id: str = "") -> HttpResponseBase:
        """Call the operation with parameters in the query."""
        return self._call(resource_type, id)


def routes() -> list[URLPattern]:
    """Return the routes of all operations."""
    return [
        re_path(_pattern(operation, level), _view(operation, level))
        for operation in operations()
        for level in LEVELS
        if level in operation.levels
    ]


def _pattern(operation: Operation, level: Level) -> str:
    tail = rf"/\${operation.name}$"  # letters and hyphens: nothing to escape
    if level == "system":
        return "^fhir" + tail
    types = "|".join(sorted(operation.types)) or "[A-Za-z]+"
    return _TYPE.format(types=types) + (_ID if level == "instance" else "") + tail


def _view(operation: Operation, level: Level) -> Any:  # noqa: ANN401  # what as_view answers
    kind = OperationView if operation.affects_state else ReadOperationView
    declared = operation.scope or f"fhir:{operation.access}"
    methods = ("POST",) if operation.affects_state else ("GET", "POST")
    named: dict[str, Any] = {"operation": operation, "level": level, "weight": operation.weight}
    if operation.starts_job:
        named["readonly"] = frozenset()
    elif not (operation.affects_state or operation.own_transaction or operation.media):
        named["deferrable"] = frozenset({"GET", "POST"})
    if operation.own_transaction:
        named["own_transaction"] = frozenset({"GET", "POST"})
    return kind.as_view(required_scopes=dict.fromkeys(methods, declared), **named)
