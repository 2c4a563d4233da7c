"""Every exception becomes one shape, and unknown ones say nothing."""

from collections.abc import Callable

import pytest
from django.core.exceptions import (
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    ValidationError,
)
from django.db import IntegrityError, OperationalError
from django.http import Http404, HttpRequest
from django.test import Client, RequestFactory, override_settings
from rest_framework import exceptions as drf
from rest_framework.test import APIClient

from healthcloud.api import handlers
from healthcloud.api.errors import describe, exception_handler
from healthcloud.errors import Conflict, RateLimited, Unauthorized


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Conflict("no"), 409, "conflict"),
        (Unauthorized("no"), 401, "unauthorized"),
        (Http404(), 404, "not_found"),
        (ObjectDoesNotExist(), 404, "not_found"),
        (PermissionDenied(), 403, "forbidden"),
        (RequestDataTooBig(), 413, "payload_too_large"),
        (SuspiciousOperation("secret"), 400, "bad_request"),
        (IntegrityError("secret"), 409, "conflict"),
        (OperationalError("secret"), 503, "service_unavailable"),
        (drf.NotAuthenticated(), 401, "unauthorized"),
        (drf.Throttled(wait=3), 429, "rate_limited"),
        (drf.UnsupportedMediaType("x"), 415, "unsupported_media_type"),
        (drf.NotAcceptable(), 406, "not_acceptable"),
        (drf.ParseError(), 400, "bad_request"),
        (RuntimeError("secret"), 500, "internal_error"),
    ],
)
def test_every_exception_has_a_status_and_a_code(error: Exception, status: int, code: str) -> None:
    described = describe(error)
    assert (described.status, described.code) == (status, code)
    assert "secret" not in described.message


def test_headers_say_when_to_come_back_and_how_to_authenticate() -> None:
    assert describe(RateLimited("slow", retry_after=2.2)).headers["Retry-After"] == "3"
    assert describe(drf.Throttled(wait=3)).headers["Retry-After"] == "4"
    assert "WWW-Authenticate" in describe(Unauthorized("no")).headers


def test_all_problems_of_a_body_are_named_with_their_paths() -> None:
    error = drf.ValidationError(
        {"name": ["Too long."], "steps": [{}, {"kind": ["Unknown."]}], "non_field_errors": ["Odd."]}
    )
    described = describe(error)
    assert [problem["param"] for problem in described.details] == ["name", "steps.1.kind", None]
    assert described.param == "name"
    assert "3 problems" in described.message


def test_djangos_own_validation_errors_read_the_same() -> None:
    assert describe(ValidationError({"name": ["Bad."]})).param == "name"
    assert describe(ValidationError("Bad.")).status == 422


def test_a_view_of_the_framework_answers_the_same_shape() -> None:
    request = RequestFactory().get("/v1/x")
    response = exception_handler(Conflict("no"), {"request": request})
    assert response.status_code == 409
    assert response.data["error"]["code"] == "conflict"
    assert response.data["organization_id"] is None


@pytest.mark.parametrize(
    ("handler", "status"),
    [
        (lambda request: handlers.bad_request(request, SuspiciousOperation()), 400),
        (lambda request: handlers.permission_denied(request, PermissionDenied()), 403),
        (lambda request: handlers.page_not_found(request, Http404()), 404),
        (lambda request: handlers.server_error(request), 500),
        (lambda request: handlers.csrf_failure(request), 403),
    ],
)
def test_django_itself_answers_json_below_v1_and_pages_elsewhere(
    handler: Callable[[HttpRequest], object], status: int
) -> None:
    api = handler(RequestFactory().get("/v1/x"))
    assert (api.status_code, api["Content-Type"]) == (status, "application/json")
    page = handler(RequestFactory().get("/somewhere"))
    assert (page.status_code, page["Content-Type"].split(";")[0]) == (status, "text/html")


@pytest.mark.django_db
@override_settings(ALLOWED_HOSTS=["only.example"])
def test_a_wrong_host_is_400_in_json() -> None:
    response = Client(raise_request_exception=False).get("/v1/projects", HTTP_HOST="evil.example")
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "bad_request"


@pytest.mark.django_db
def test_the_database_going_away_is_503(
    client_for: Callable[..., APIClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OperationalError("server closed the connection, detail: patient Smith")

    client = client_for("riverside")
    monkeypatch.setattr("healthcloud.organizations.api.organizations.paginate", fail)
    response = client.get("/v1/projects")
    assert response.status_code == 503
    assert "Smith" not in response.content.decode()
