"""PlatformView: denies by default, enters the tenant, answers its scope, refuses the wrong one."""

from collections.abc import Callable

import pytest
from django.test import override_settings
from django.urls import include, path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient

from healthcloud.api.views import PlatformView
from healthcloud.organizations.models import ApiKey, Organization
from healthcloud.tenancy.scope import active_scope, public_scope


class Echo(PlatformView):
    required_scopes = {"GET": "fhir:read", "POST": "fhir:write"}

    def get(self, request: Request) -> Response:
        row = {"project_id": request.query_params["row"]} if "row" in request.query_params else {}
        scope = active_scope()
        return Response({"schema": scope.schema, "project": scope.project_id, **row})

    def post(self, request: Request) -> Response:
        with public_scope():
            Organization.objects.filter(pk=self.scope.organization_id).update(name="Touched")
        if self.body.get("fail"):
            raise RuntimeError("secret of ours")
        return Response({"project": active_scope().project_id}, status=201)

    def delete(self, request: Request) -> Response:
        return Response(status=204)


urlpatterns = [path("v1/echo", Echo.as_view()), path("", include("healthcloud.api.fallback"))]
pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


def test_a_call_runs_in_the_tenant_of_its_key_and_answers_its_scope(
    client_for: Callable[..., APIClient],
) -> None:
    response = client_for("riverside", project="screening").get("/v1/echo")
    assert response.status_code == 200
    assert response.json()["organization_id"] == "org_riverside"
    assert response.json()["project_id"] == "proj_riverside_screening"
    assert response.json()["environment"] == "sandbox"
    assert response.json()["project"] == "proj_riverside_screening"
    assert response["HealthCloud-Organization-Id"] == "org_riverside"
    assert response["HealthCloud-Project-Id"] == "proj_riverside_screening"
    assert response["HealthCloud-Environment"] == "sandbox"
    assert response["X-Request-Id"].startswith("req_")


def test_no_key_is_401_with_null_scope() -> None:
    response = APIClient().get("/v1/echo")
    assert response.status_code == 401
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert response.json()["error"]["code"] == "unauthorized"
    assert response.json()["error"]["request_id"] == response["X-Request-Id"]
    assert response.json()["organization_id"] is None
    assert response.json()["environment"] is None
    assert response["HealthCloud-Organization-Id"] == "null"


def test_a_method_without_a_scope_is_denied(client_for: Callable[..., APIClient]) -> None:
    response = client_for("riverside", project="screening").delete("/v1/echo")
    assert response.status_code == 403
    assert response.json()["organization_id"] == "org_riverside"


def test_a_key_without_the_scope_is_denied(client_for: Callable[..., APIClient]) -> None:
    client = client_for("riverside", project="screening", scopes=["fhir:read"])
    response = client.post("/v1/echo", {}, format="json")
    assert response.status_code == 403
    assert response.json()["error"]["details"] == {"required_scope": "fhir:write"}
    assert Organization.objects.get(pk="org_riverside").name == "Riverside Health"


def test_a_method_that_the_view_lacks_is_405(client_for: Callable[..., APIClient]) -> None:
    client = client_for("riverside", project="screening")
    for response in (client.put("/v1/echo", {}, format="json"), client.options("/v1/echo")):
        assert response.status_code == 405
        assert response.json()["error"]["code"] == "method_not_allowed"
        assert response["Allow"] == "GET, POST, DELETE"


def test_an_organization_wide_key_must_name_a_project_to_write(
    client_for: Callable[..., APIClient],
) -> None:
    client = client_for("riverside")
    refused = client.post("/v1/echo", {}, format="json")
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "project_id"
    assert refused.json()["project_id"] is None
    project = "proj_riverside_screening"
    for response in (
        client.post("/v1/echo", {"project_id": project}, format="json"),
        client.post(f"/v1/echo?project_id={project}", {}, format="json"),
        client.post("/v1/echo", {}, format="json", HTTP_HEALTHCLOUD_PROJECT=project),
    ):
        assert response.status_code == 201
        assert response.json()["project_id"] == response.json()["project"] == project
    assert client.get("/v1/echo").json()["project"] is None


def test_a_project_of_another_organization_is_404_and_nothing_moves(
    client_for: Callable[..., APIClient],
) -> None:
    client = client_for("lakeside")
    response = client.post("/v1/echo", {"project_id": "proj_riverside_screening"}, format="json")
    assert response.status_code == 404
    assert response.json()["error"]["param"] == "project_id"
    assert response.json()["organization_id"] == "org_lakeside"
    assert Organization.objects.get(pk="org_lakeside").name == "Lakeside Clinic"


def test_a_key_of_one_project_is_refused_for_another(client_for: Callable[..., APIClient]) -> None:
    client = client_for("riverside", project="screening")
    response = client.post("/v1/echo", {"project_id": "proj_riverside_referrals"}, format="json")
    assert response.status_code == 403
    assert Organization.objects.get(pk="org_riverside").name == "Riverside Health"


@pytest.mark.parametrize(("own", "named"), [("sandbox", "production"), ("production", "sandbox")])
def test_a_key_can_not_cross_environments(
    client_for: Callable[..., APIClient], own: str, named: str
) -> None:
    client = client_for("riverside", environment=own, project="screening")
    for response in (
        client.post("/v1/echo", {"environment": named}, format="json"),
        client.get(f"/v1/echo?environment={named}"),
    ):
        assert response.status_code == 403
        assert response.json()["error"]["param"] == "environment"
        assert response.json()["environment"] == own
    assert Organization.objects.get(pk="org_riverside").name == "Riverside Health"


def test_each_environment_is_another_schema(client_for: Callable[..., APIClient]) -> None:
    schemas = {
        client_for(slug, environment=kind, project="screening").get("/v1/echo").json()["schema"]
        for slug in ("riverside", "lakeside")
        for kind in ("sandbox", "production")
    }
    assert len(schemas) == 4


def test_an_unhandled_error_is_500_says_nothing_and_rolls_back(
    client_for: Callable[..., APIClient],
) -> None:
    client = client_for("riverside", project="screening")
    response = client.post("/v1/echo", {"fail": True}, format="json")
    assert response.status_code == 500
    assert response.json()["error"]["code"] == "internal_error"
    assert "secret" not in response.content.decode()
    assert response.json()["project_id"] == "proj_riverside_screening"
    assert Organization.objects.get(pk="org_riverside").name == "Riverside Health"


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        ("{", "application/json", 400, "bad_request"),
        ("[]", "application/json", 400, "bad_request"),
        ('{"a": 1, "a": 2}', "application/json", 400, "bad_request"),
        ('{"a": NaN}', "application/json", 400, "bad_request"),
        ('{"a": "\\u0000"}', "application/json", 400, "bad_request"),
        ('{"a": "\\ud800"}', "application/json", 400, "bad_request"),
        ('{"a":' * 70 + "1" + "}" * 70, "application/json", 400, "bad_request"),
        ('{"a":' * 50_000, "application/json", 400, "bad_request"),
        ("a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ("<a/>", "application/xml", 415, "unsupported_media_type"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_refused(
    client_for: Callable[..., APIClient], body: str, content_type: str, status: int, code: str
) -> None:
    client = client_for("riverside", project="screening")
    response = client.post("/v1/echo", body, content_type=content_type)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.json()["organization_id"] == "org_riverside"
    assert Organization.objects.get(pk="org_riverside").name == "Riverside Health"


@override_settings(MAXIMUM_BODY_BYTES=100)
def test_a_body_beyond_the_limit_is_413(client_for: Callable[..., APIClient]) -> None:
    client = client_for("riverside", project="screening")
    response = client.post("/v1/echo", {"a": "x" * 200}, format="json")
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "payload_too_large"


def test_an_unknown_route_is_404_in_json_with_the_scope_of_the_key(
    client_for: Callable[..., APIClient],
) -> None:
    response = client_for("riverside").get("/v1/nothing/here")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "not_found"
    assert response.json()["organization_id"] == "org_riverside"
    anonymous = APIClient().get("/v1/nothing")
    assert anonymous.status_code == 404
    assert anonymous.json()["organization_id"] is None


def test_a_clients_own_request_id_is_kept_when_well_formed(
    client_for: Callable[..., APIClient],
) -> None:
    client = client_for("riverside")
    kept = client.get("/v1/echo", HTTP_X_REQUEST_ID="my-request-42")
    assert kept["X-Request-Id"] == "my-request-42"
    replaced = client.get("/v1/echo", HTTP_X_REQUEST_ID="<script>")
    assert replaced["X-Request-Id"].startswith("req_")


def test_the_version_header_is_echoed_or_refused(client_for: Callable[..., APIClient]) -> None:
    client = client_for("riverside")
    assert client.get("/v1/echo")["HealthCloud-Version"] == "2026-11-01"
    echoed = client.get("/v1/echo", HTTP_HEALTHCLOUD_VERSION="2026-12-24")
    assert echoed["HealthCloud-Version"] == "2026-12-24"
    refused = client.get("/v1/echo", HTTP_HEALTHCLOUD_VERSION="2026-13-01")
    assert (refused.status_code, refused.json()["organization_id"]) == (400, "org_riverside")


def test_an_archived_project_can_be_read_not_changed(client_for: Callable[..., APIClient]) -> None:
    from healthcloud.organizations.models import Project

    Project.objects.filter(pk="proj_riverside_screening").update(status="archived")
    client = client_for("riverside", project="screening")
    assert client.get("/v1/echo").status_code == 200
    refused = client.post("/v1/echo", {}, format="json")
    assert refused.status_code == 409
    assert Organization.objects.get(pk="org_riverside").name == "Riverside Health"


def test_a_key_of_an_environment_in_the_making_is_503(
    client_for: Callable[..., APIClient],
) -> None:
    client = client_for("riverside")
    key = ApiKey.objects.get(organization_id="org_riverside")
    type(key.environment).objects.filter(pk=key.environment_id).update(status="deleting")
    assert client.get("/v1/echo").status_code == 503


@pytest.mark.parametrize("address", ["/v1/echo?project_id=%00", "/v1/echo?x=%00y"])
def test_a_nul_in_the_address_is_400(client_for: Callable[..., APIClient], address: str) -> None:
    assert client_for("riverside").get(address).status_code == 400


@pytest.mark.parametrize("value", [{}, [], [{"a": 1}], True, 1, ""])
def test_a_project_that_is_no_text_is_400(
    client_for: Callable[..., APIClient], value: object
) -> None:
    response = client_for("riverside").post("/v1/echo", {"project_id": value}, format="json")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "project_id")


@pytest.mark.parametrize("value", [{}, [{"a": 1}], 1])
def test_an_environment_that_is_no_text_is_400(
    client_for: Callable[..., APIClient], value: object
) -> None:
    client = client_for("riverside", project="screening")
    response = client.post("/v1/echo", {"environment": value}, format="json")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "environment")


def test_the_headers_name_the_project_that_the_body_names(
    client_for: Callable[..., APIClient],
) -> None:
    response = client_for("riverside").get("/v1/echo?row=proj_riverside_screening")
    assert response.json()["project_id"] == "proj_riverside_screening"
    assert response["HealthCloud-Project-Id"] == "proj_riverside_screening"


def test_an_address_with_a_line_break_is_404_in_the_one_shape(
    client_for: Callable[..., APIClient],
) -> None:
    response = client_for("riverside").get("/v1/nothing%0a/here")
    assert (response.status_code, response.json()["organization_id"]) == (404, "org_riverside")
