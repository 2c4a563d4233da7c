"""Scopes narrowed by a query: what it does not find is not there, for keys and apps alike."""

import json
from collections.abc import Callable

import pytest
from django.db import connection
from rest_framework.test import APIClient

from healthcloud.api.scopes import common
from tests.fhir.sight.conftest import CATEGORY, LaunchFor, ids_in, observation

pytestmark = pytest.mark.django_db
LABS = f"system/Observation.cruds?category={CATEGORY}|laboratory"
ClientFor = Callable[..., APIClient]


@pytest.fixture
def key(records: APIClient, client_for: ClientFor) -> APIClient:
    return client_for(scopes=(LABS, "system/Patient.rs"))


def shown(client: APIClient, path: str) -> set[str]:
    answer = client.get(f"/v1/fhir/{path}")
    assert answer.status_code == 200, answer.content
    return ids_in(answer.json())


def test_a_key_sees_what_its_query_finds(key: APIClient) -> None:
    labs = {"Observation/lab-ann", "Observation/lab-ben"}
    assert shown(key, "Observation") == labs
    assert shown(key, "Observation?code=8310-5&_total=accurate") == labs
    assert shown(key, "Patient?_revinclude=Observation:subject") == labs | {
        "Patient/ann",
        "Patient/ben",
    }
    assert key.get("/v1/fhir/Observation/lab-ann").status_code == 200
    for tail in ("", "/_history", "/_history/1"):
        path = f"/v1/fhir/Observation/vital-ann{tail}"
        answer = key.get(path)
        assert answer.status_code == 404 or answer.json()["total"] == 0
    assert shown(key, "Patient?_has:Observation:patient:category=vital-signs") == set()


def test_a_key_writes_what_its_query_finds(key: APIClient, records: APIClient) -> None:
    vital = observation("v", "ann", "vital-signs")
    lab = observation("v", "ann", "laboratory")
    assert key.put("/v1/fhir/Observation/v", vital, format="json").status_code == 403
    assert key.put("/v1/fhir/Observation/v", lab, format="json").status_code == 201
    assert key.put("/v1/fhir/Observation/v", vital, format="json").status_code == 403
    patch = [{"op": "replace", "path": "/category/0/coding/0/code", "value": "vital-signs"}]
    answer = key.patch(
        "/v1/fhir/Observation/v", json.dumps(patch), content_type="application/json-patch+json"
    )
    assert answer.status_code == 403
    assert records.get("/v1/fhir/Observation/v").json()["meta"]["versionId"] == "1"
    assert key.delete("/v1/fhir/Observation/v").status_code == 204
    assert records.get("/v1/fhir/Observation/v").status_code == 410


def test_reading_and_writing_are_narrowed_apart(records: APIClient, launch_for: LaunchFor) -> None:
    app = launch_for(
        f"patient/Observation.rs?category={CATEGORY}|laboratory",
        "patient/Observation.u?category=vital-signs",
    )
    assert shown(app, "Observation") == {"Observation/lab-ann"}
    lab = observation("lab-ann", "ann", "laboratory")
    vital = observation("vital-ann", "ann", "vital-signs")
    assert app.put("/v1/fhir/Observation/lab-ann", lab, format="json").status_code == 403
    assert app.put("/v1/fhir/Observation/vital-ann", vital, format="json").status_code >= 400
    assert records.get("/v1/fhir/Observation/lab-ann").json()["meta"]["versionId"] == "1"


def test_a_granular_scope_of_an_app_is_of_its_patient(
    records: APIClient, launch_for: LaunchFor
) -> None:
    app = launch_for("patient/Observation.rs?category=laboratory", "patient/Condition.rs")
    assert shown(app, "Observation") == {"Observation/lab-ann"}
    assert shown(app, "Condition") == {"Condition/cond-ann"}
    assert app.get("/v1/fhir/Observation/lab-ben").status_code == 404


def test_every_criterion_must_be_met(records: APIClient, client_for: ClientFor) -> None:
    both = client_for(scopes=("system/Observation.rs?category=laboratory&status=final",))
    none = client_for(scopes=("system/Observation.rs?category=laboratory&status=amended",))
    either = client_for(scopes=("system/Observation.rs?category=laboratory,vital-signs",))
    assert shown(both, "Observation") == {"Observation/lab-ann", "Observation/lab-ben"}
    assert shown(none, "Observation") == set()
    assert len(shown(either, "Observation")) == 4


@pytest.mark.parametrize(
    "scope",
    [
        "system/Observation.rs?value-quantity=gt5",
        "system/Observation.rs?subject.name=x",
        "system/Observation.rs?nothing=x",
        "system/Observation.rs?category:not=laboratory",
        "system/Observation.rs?_include=Observation:subject",
        "system/Observation.rs?_count=5",
        "system/*.rs?_security=N",
        "system/Nothing.rs?code=x",
        "system/Observation.rs?",
    ],
)
def test_a_key_is_not_narrowed_by_what_can_not_be_held(client_for: ClientFor, scope: str) -> None:
    maker = client_for(scopes=("keys:write", "fhir:read"))
    answer = maker.post("/v1/api-keys", {"name": "x", "scopes": [scope]}, format="json")
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == "scopes"


def test_a_token_is_never_wider_than_its_key(key: APIClient) -> None:
    wanted = {"scope": "system/Observation.rs"}
    assert key.post("/v1/auth/token", wanted, format="json").status_code == 403
    answer = key.post("/v1/auth/token", {"scope": [LABS]}, format="json")
    token = answer.json()["access_token"]
    narrow = APIClient()
    narrow.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert shown(narrow, "Observation") == {"Observation/lab-ann", "Observation/lab-ben"}


def test_the_database_forgets_the_sight_with_the_transaction(
    key: APIClient, records: APIClient
) -> None:
    assert len(shown(key, "Observation")) == 2
    assert len(shown(records, "Observation")) == 4
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('hc.see_types', true), current_user")
        assert "narrow" not in cursor.fetchone()[1]


@pytest.mark.parametrize(
    ("held", "wanted", "granted"),
    [
        ({"fhir:read"}, "user/Observation.rs", {"user/Observation.rs"}),
        ({"fhir:read"}, "patient/*.cruds", {"patient/*.rs"}),
        ({"patient/*.rs"}, "user/*.rs", {"patient/*.rs"}),
        ({"patient/*.rs"}, "patient/Observation.rs", {"patient/Observation.rs"}),
        ({"system/Observation.rs?code=a"}, "system/Observation.rs",
         {"system/Observation.rs?code=a"}),
        ({"system/Observation.rs?code=a"}, "system/Observation.r?code=b", set()),
        ({"system/Observation.r", "system/Observation.s"}, "system/Observation.rs",
         {"system/Observation.rs"}),
        ({"Condition:read"}, "system/Observation.rs", set()),
        ({"system/Condition.rs"}, "system/*.rs", {"system/Condition.rs"}),
    ],
)  # fmt: skip
def test_what_two_scopes_have_in_common(held: set[str], wanted: str, granted: set[str]) -> None:
    assert common(held, wanted) == granted
