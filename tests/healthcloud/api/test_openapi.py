"""The OpenAPI document: valid, without warnings, the scope and the errors in every answer."""

import contextlib
import inspect
import json
import re
import threading

import pytest
from django.test import Client
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import EndpointEnumerator
from openapi_spec_validator import validate

from healthcloud.api import openapi
from healthcloud.api.openapi import build
from healthcloud.api.renderers import dump_json

STATUS = re.compile(r"status=(2\d\d)")


@pytest.fixture(scope="module")
def tree() -> dict[str, object]:
    GENERATOR_STATS.reset()
    return json.loads(dump_json(build()))


def test_it_is_valid_openapi_3_1_without_a_warning(tree: dict[str, object]) -> None:
    validate(tree)
    assert tree["openapi"].startswith("3.1")
    assert dict(GENERATOR_STATS._warn_cache) == {}
    assert dict(GENERATOR_STATS._error_cache) == {}


def operations(tree: dict[str, object]) -> list[tuple[str, str, dict[str, object]]]:
    return [
        (path, method, operation)
        for path, methods in tree["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_operation_has_a_summary_a_scope_and_every_error(tree: dict[str, object]) -> None:
    for path, method, operation in operations(tree):
        assert operation["summary"], (path, method)
        assert {"400", "401", "403", "404", "422", "429", "500"} <= set(operation["responses"])


def test_every_success_carries_the_scope_in_body_and_headers(tree: dict[str, object]) -> None:
    for path, method, operation in operations(tree):
        for status, answer in operation["responses"].items():
            if not status.startswith("2"):
                continue
            assert "HealthCloud-Environment" in answer["headers"], (path, method)
            schema = answer.get("content", {}).get("application/json", {}).get("schema")
            if schema is not None and not path.startswith("/v1/fhir"):
                assert {"$ref": "#/components/schemas/ScopeMetadata"} in schema["allOf"]


def test_every_status_that_a_view_answers_is_documented(tree: dict[str, object]) -> None:
    missing = []
    for path, _, method, view in EndpointEnumerator().get_api_endpoints():
        operation = tree["paths"].get(path, {}).get(method.lower())
        handler = getattr(view.cls, method.lower(), None)
        if operation is None or handler is None:
            continue
        source = inspect.getsource(inspect.unwrap(handler))
        answered = set(STATUS.findall(source)) if "status" in source else {"200"}
        if answered - set(operation["responses"]):
            missing.append((method, path, answered))
    assert missing == []


def test_addresses_are_those_that_are_called(tree: dict[str, object]) -> None:
    assert [path for path in tree["paths"] if set(path) & set("\\^?()")] == []
    assert "/v1/fhir/{resource_type}/{id}/$meta-add" in tree["paths"]


def test_fhir_routes_tell_of_what_fhir_answers(tree: dict[str, object]) -> None:
    said = {
        method: set(operation["responses"])
        for method, operation in tree["paths"]["/v1/fhir/{resource_type}/{id}"].items()
    }
    assert {"200", "304", "406", "410"} <= said["get"]
    assert {"200", "201", "412"} <= said["put"]
    assert {"204", "410"} <= said["delete"]
    assert "content" not in tree["paths"]["/v1/fhir/$export"]["get"]["responses"]["202"]
    job = tree["paths"]["/v1/fhir/_jobs/{id}"]["get"]["responses"]["200"]["content"]
    assert set(job) == {"application/json", "application/fhir+json"}


def test_nothing_and_anything_is_no_choice(tree: dict[str, object]) -> None:
    assert '"oneOf":[{},{"type":"null"}]' not in dump_json(tree).decode()


def test_the_mission_requests_are_the_examples(tree: dict[str, object]) -> None:
    body = tree["paths"]["/v1/workflows/run"]["post"]["requestBody"]["content"]
    assert body["application/json"]["example"] == {
        "workflow_id": "uti_screening",
        "input": {"patient_id": "pat_123"},
    }


@pytest.mark.django_db
def test_it_is_served_without_a_key() -> None:
    response = Client().get("/v1/openapi.json")
    assert response.status_code == 200
    assert response.json()["info"]["title"] == "HealthCloud API"


def test_two_who_ask_first_get_one_document_that_was_made_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two threads in spectacular's loading of extensions gave one of them a 500."""
    made: list[str] = []
    both = threading.Barrier(2)

    def slowly() -> dict[str, object]:
        made.append(threading.current_thread().name)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(timeout=0.5)
        return {"openapi": "3.1.0"}

    monkeypatch.setattr(openapi, "build", slowly)
    openapi._document.cache_clear()
    answers: list[bytes] = []
    threads = [threading.Thread(target=lambda: answers.append(openapi.document())) for _ in "ab"]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        openapi._document.cache_clear()
    assert answers[0] == answers[1]
    assert len(made) == 1
