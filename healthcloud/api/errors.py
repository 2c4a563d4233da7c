"""The one error shape: whatever is raised becomes code, message, param, details and request id."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from django.conf import settings
from django.core.exceptions import (
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DatabaseError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from rest_framework import exceptions as drf
from rest_framework.response import Response

from healthcloud.api.renderers import dump_json
from healthcloud.api.request_ids import request_id
from healthcloud.errors import HealthCloudError, RateLimited

logger = logging.getLogger(__name__)

_CODES: Final[Mapping[int, str]] = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    410: "gone",
    412: "precondition_failed",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "validation_error",
    429: "rate_limited",
    500: "internal_error",
    503: "service_unavailable",
}

NO_SCOPE: Final[Mapping[str, str | None]] = {
    "organization_id": None,
    "project_id": None,
    "environment": None,
}


@dataclass(frozen=True, slots=True)
class ErrorDescription:
    """An error as every renderer needs it, whichever exception it came from."""

    status: int
    code: str
    message: str
    param: str | None = None
    details: object = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, *, request_id: str) -> dict[str, object]:
        """Return the JSON form, without the scope metadata that stands beside it."""
        return {
            "error": {
                "code": self.code,
                "message": self.message,
                "param": self.param,
                "details": self.details,
                "request_id": request_id,
                "docs_url": docs_url(self.code),
            }
        }


def docs_url(code: str) -> str:
    """Return the page that explains an error code."""
    base = str(getattr(settings, "DOCS_URL", "")) or "https://healthcloud.solutions/docs"
    return f"{base}/errors#{code}"


def describe(error: Exception) -> ErrorDescription:
    """Turn any exception into the error that a caller may see; unknown ones say nothing."""
    for kinds, explain in _EXPLAINERS:
        if isinstance(error, kinds):
            return explain(error)
    return ErrorDescription(
        500,
        "internal_error",
        "Something failed on our side; nothing was changed. Try again, and tell us the"
        " `request_id` if it stays.",
    )


def _explain_own(error: Exception) -> ErrorDescription:
    assert isinstance(error, HealthCloudError)
    headers: dict[str, str] = dict(getattr(error, "headers", None) or {})
    if isinstance(error, RateLimited):
        headers["Retry-After"] = str(max(1, round(error.retry_after + 0.499)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers.setdefault("WWW-Authenticate", 'Bearer realm="healthcloud"')
    return ErrorDescription(
        error.status, error.code, error.message, error.param, error.details, headers
    )


def _explain_validation(error: Exception) -> ErrorDescription:
    assert isinstance(error, drf.ValidationError)
    problems = list(_problems(error.detail, ()))
    first = problems[0] if problems else {"param": None, "message": "The body is not valid."}
    message = first["message"] if not first["param"] else f"`{first['param']}`: {first['message']}"
    if len(problems) > 1:
        message = f"{message} ({len(problems)} problems; see `details`.)"
    return ErrorDescription(422, "validation_error", str(message), first["param"], problems)


def _problems(detail: object, path: tuple[str, ...]) -> Iterator[dict[str, str | None]]:
    """Yield one problem per message of a serializer, with the path of its field."""
    if isinstance(detail, Mapping):
        for name, below in detail.items():
            yield from _problems(below, path if name == "non_field_errors" else (*path, str(name)))
    elif isinstance(detail, Sequence) and not isinstance(detail, str):
        for index, below in enumerate(detail):
            nested = isinstance(below, (Mapping, list))
            yield from _problems(below, (*path, str(index)) if nested else path)
    else:
        code = getattr(detail, "code", "invalid")
        yield {"param": ".".join(path) or None, "code": str(code), "message": str(detail)}


def _explain_django_validation(error: Exception) -> ErrorDescription:
    assert isinstance(error, DjangoValidationError)
    if hasattr(error, "error_dict"):
        return _explain_validation(drf.ValidationError(error.message_dict))
    return _explain_validation(drf.ValidationError(error.messages))


def _explain_drf(error: Exception) -> ErrorDescription:
    assert isinstance(error, drf.APIException)
    status = error.status_code
    headers: dict[str, str] = {}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="healthcloud"'
    wait = getattr(error, "wait", None)
    if wait is not None:
        headers["Retry-After"] = str(int(wait) + 1)
    return ErrorDescription(status, _code(status), _drf_message(error), headers=headers)


def _drf_message(error: drf.APIException) -> str:
    if isinstance(error, drf.UnsupportedMediaType):
        return "Send the body as JSON, with the header `Content-Type: application/json`."
    if isinstance(error, drf.NotAcceptable):
        return "This route answers JSON; accept `application/json`."
    return str(error.detail)


def _explain_missing(error: Exception) -> ErrorDescription:
    return ErrorDescription(404, "not_found", "There is nothing at this address.")


def _explain_denied(error: Exception) -> ErrorDescription:
    return ErrorDescription(403, "forbidden", "This credential may not do that.")


def _explain_too_big(error: Exception) -> ErrorDescription:
    return ErrorDescription(413, "payload_too_large", "The body is too large.")


def _explain_suspicious(error: Exception) -> ErrorDescription:
    return ErrorDescription(400, "bad_request", "The request can't be understood as it stands.")


def _explain_integrity(error: Exception) -> ErrorDescription:
    return ErrorDescription(
        409, "conflict", "This conflicts with something that exists or changed just now. Read it"
        " again, then retry."
    )  # fmt: skip


def _explain_database(error: Exception) -> ErrorDescription:
    return ErrorDescription(
        503,
        "service_unavailable",
        "The database can't answer now; nothing was changed. Try again in a moment.",
        headers={"Retry-After": "2"},
    )


_EXPLAINERS: Final = (
    (HealthCloudError, _explain_own),
    (drf.ValidationError, _explain_validation),
    (drf.APIException, _explain_drf),
    ((Http404, ObjectDoesNotExist), _explain_missing),
    (PermissionDenied, _explain_denied),
    (RequestDataTooBig, _explain_too_big),
    (SuspiciousOperation, _explain_suspicious),
    (DjangoValidationError, _explain_django_validation),
    (IntegrityError, _explain_integrity),
    ((OperationalError, InterfaceError), _explain_database),
)


def _code(status: int) -> str:
    return _CODES.get(status, "bad_request" if status < 500 else "internal_error")


def log_error(error: Exception, description: ErrorDescription, request: HttpRequest) -> None:
    """Log faults of ours with their traceback; callers' mistakes are not logged here.

    The traceback holds code and ids; a database error's message can quote values, so that the
    exception's own text is left out.
    """
    ours = description.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if (ours and description.status != HTTPStatus.NOT_IMPLEMENTED) or isinstance(
        error, DatabaseError
    ):
        logger.error(
            "request failed: %s %s -> %d %s",
            request.method,
            getattr(request.resolver_match, "route", "?"),
            description.status,
            type(error).__name__,
            extra={"request_id": request_id(request)},
            exc_info=None if isinstance(error, DatabaseError) else error,
        )


def exception_handler(error: Exception, context: Mapping[str, object]) -> Response:
    """Answer an error of a view that is not a PlatformView (Django REST framework's hook)."""
    request = context["request"]
    http_request = getattr(request, "_request", request)
    assert isinstance(http_request, HttpRequest)
    description = describe(error)
    log_error(error, description, http_request)
    body = description.body(request_id=request_id(http_request)) | dict(NO_SCOPE)
    return Response(body, status=description.status, headers=dict(description.headers))


def error_response(request: HttpRequest, description: ErrorDescription) -> HttpResponse:
    """Answer an error outside any view, in the one shape and without a known scope."""
    body = description.body(request_id=request_id(request)) | dict(NO_SCOPE)
    return HttpResponse(
        dump_json(body),
        status=description.status,
        content_type="application/json",
        headers=dict(description.headers),
    )


def is_api_path(path: str) -> bool:
    """Tell whether a path is answered in JSON."""
    return path == "/v1" or path.startswith("/v1/")
