"""What Django calls when no view answers: JSON under /v1, pages elsewhere."""

from django.http import HttpRequest, HttpResponse
from django.views import defaults

from healthcloud.api.errors import ErrorDescription, describe, error_response, is_api_path


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 400 for a request that Django itself refuses."""
    if is_api_path(request.path):
        return error_response(request, describe(exception))
    return defaults.bad_request(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 403, also for a missing CSRF token."""
    if is_api_path(request.path):
        return error_response(request, describe(exception))
    return defaults.permission_denied(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer 404 for an address that no route knows."""
    if is_api_path(request.path):
        return error_response(request, describe(exception))
    return defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer 500 without a word about the cause."""
    if is_api_path(request.path):
        return error_response(request, describe(RuntimeError()))
    return defaults.server_error(request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer 403 when a form or a session's call came without its CSRF token."""
    if is_api_path(request.path):
        message = "Send the CSRF token of your session in the header `X-CSRFToken`."
        return error_response(request, ErrorDescription(403, "forbidden", message))
    from django.views.csrf import csrf_failure as page

    return page(request, reason=reason)
