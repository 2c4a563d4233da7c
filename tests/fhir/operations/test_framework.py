"""Operations are routed, scoped and declared from their files."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient, APIRequestFactory

from fhir.api.views.operation import OperationView, ReadOperationView
from fhir.operations.operation import Answer, Call, Operation
from fhir.operations.parameters import InvalidParameter, Parameters, parameters, part
from fhir.operations.registry import operations

ClientFor = Callable[..., APIClient]
FHIR = "application/fhir+json"


def greet(call: Call) -> dict[str, Any]:
    name = call.parameters.required("name")
    return parameters(part("return", valueString=f"{name} of {call.resource_type}/{call.id}"))


GREET = Operation(
    name="greet",
    run=greet,
    levels=frozenset({"instance"}),
    summary="Greet.",
    inputs=frozenset({"name"}),
)


def ask(client: APIClient, method: str, address: str, body: object = None, **more: Any) -> Any:
    key = client._credentials["HTTP_AUTHORIZATION"]
    factory = APIRequestFactory()
    content = b"" if body is None else json.dumps(body).encode()
    request = factory.generic(method, address, content, FHIR, HTTP_AUTHORIZATION=key)
    operation = more.get("operation", GREET)
    kind = OperationView if operation.affects_state else ReadOperationView
    methods = ("POST",) if operation.affects_state else ("GET", "POST")
    scopes = dict.fromkeys(methods, "fhir:read")
    view = kind.as_view(operation=operation, level="instance", required_scopes=scopes)
    return view(request, resource_type="Patient", id="p1")


@pytest.mark.django_db
def test_parameters_come_from_the_query_or_from_a_parameters_resource(
    alice_client: APIClient,
) -> None:
    got = ask(alice_client, "GET", "/x?name=Ann")
    body = parameters(part("name", valueString="Ann"))
    posted = ask(alice_client, "POST", "/x", body)
    assert got.status_code == posted.status_code == 200
    assert json.loads(got.content) == json.loads(posted.content)
    assert json.loads(got.content)["parameter"][0]["valueString"] == "Ann of Patient/p1"


@pytest.mark.django_db
def test_an_unknown_parameter_is_refused_by_name(alice_client: APIClient) -> None:
    answer = ask(alice_client, "GET", "/x?name=Ann&nmae=Bob")
    issue = json.loads(answer.content)["issue"][0]
    assert answer.status_code == 400
    assert issue["diagnostics"] == "$greet has no parameter `nmae`. It takes: name."


@pytest.mark.django_db
def test_a_bare_resource_is_refused_where_the_operation_takes_none(
    alice_client: APIClient,
) -> None:
    answer = ask(alice_client, "POST", "/x", {"resourceType": "Patient"})
    assert answer.status_code == 400


@pytest.mark.django_db
def test_the_scope_is_that_of_the_type_and_the_verb(client_for: ClientFor) -> None:
    one = ask(client_for(scopes=("Patient:read",)), "GET", "/x?name=Ann")
    other = ask(client_for(scopes=("Observation:read",)), "GET", "/x?name=Ann")
    assert (one.status_code, other.status_code) == (200, 403)


@pytest.mark.django_db
def test_get_is_refused_for_what_affects_state(alice_client: APIClient) -> None:
    operation = Operation("keep", greet, frozenset({"instance"}), "Keep.", affects_state=True)
    answer = ask(alice_client, "GET", "/x?name=Ann", operation=operation)
    assert answer.status_code == 405
    assert answer["Allow"] == "POST, OPTIONS"


@pytest.mark.django_db
def test_an_operation_may_answer_with_status_headers_and_media_type(
    alice_client: APIClient,
) -> None:
    def run(call: Call) -> Answer:
        return Answer(b"a,b\n", 202, {"Content-Location": call.address}, "text/csv")

    operation = Operation("rows", run, frozenset({"instance"}), "Rows.")
    answer = ask(alice_client, "GET", "/x", operation=operation)
    assert (answer.status_code, answer.content) == (202, b"a,b\n")
    assert answer["Content-Type"] == "text/csv"
    assert answer["Content-Location"] == "http://testserver/x"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/v1/fhir/$process-message", 501),
        ("/v1/fhir/Patient/p1/$submit-data", 501),
        ("/v1/fhir/Patient/$frobnicate", 404),
        ("/v1/fhir/$validate", 400),
        ("/v1/fhir/Group/$export", 400),
        ("/v1/fhir/Patient/$expand", 400),
    ],
)
def test_other_operations_are_501_or_404(
    alice_client: APIClient, address: str, status: int
) -> None:
    answer = alice_client.get(address)
    assert answer.status_code == status
    assert answer.json()["resourceType"] == "OperationOutcome"


def test_every_operation_says_what_it_does_and_where() -> None:
    for operation in operations():
        assert operation.summary.endswith(".")
        assert operation.levels <= {"system", "type", "instance"}


@pytest.mark.django_db
def test_the_capability_statement_lists_the_registry(alice_client: APIClient) -> None:
    rest = alice_client.get("/v1/fhir/metadata").json()["rest"][0]
    declared = {
        (entry["type"], operation["name"])
        for entry in rest["resource"]
        for operation in entry["operation"]
    }
    of_system = {operation["name"] for operation in rest["operation"]}
    for operation in operations():
        for name in operation.types if operation.levels - {"system"} else ():
            is_declared = (name, operation.name) in declared
            assert is_declared or operation.name in of_system


def test_values_are_read_by_their_type() -> None:
    given = Parameters.from_query(
        [("flag", "true"), ("count", "5"), ("since", "2026-11"), ("type", "A, B"), ("type", "C")]
    )
    assert given.truth("flag") is True
    assert given.integer("count") == 5
    moment = given.moment("since")
    assert moment is not None
    assert moment.isoformat() == "2026-11-01T00:00:00+00:00"
    assert given.texts("type", commas=True) == ["A", "B", "C"]


@pytest.mark.parametrize(
    "read",
    [
        lambda given: given.truth("word"),
        lambda given: given.integer("word"),
        lambda given: given.moment("word"),
        lambda given: given.element("word", "Coding"),
        lambda given: given.parts("word"),
        lambda given: given.text("twice"),
        lambda given: given.required("absent"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(read: Callable[[Parameters], object]) -> None:
    given = Parameters.from_query([("word", "maybe"), ("twice", "1"), ("twice", "2")])
    with pytest.raises(InvalidParameter):
        read(given)


def test_parameters_that_are_no_parameters_are_refused() -> None:
    for wrong in ({"parameter": "x"}, {"parameter": [1]}, {"parameter": [{"valueString": "x"}]}):
        with pytest.raises(InvalidParameter):
            Parameters.from_resource(wrong)
