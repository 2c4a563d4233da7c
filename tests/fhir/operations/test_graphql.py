"""`$graphql`: what is asked for, checked by the definitions, within limits."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.fhir.conftest import ClientFor
from tests.fhir.operations.conftest import put

pytestmark = pytest.mark.django_db


def ask(client: APIClient, query: str, at: str = "", **more: Any) -> dict[str, Any]:
    body = json.dumps({"query": query, **more})
    answer = client.post(f"/v1/fhir/{at}$graphql", body, content_type="application/json")
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"].startswith("application/json")
    return json.loads(answer.content)


def data(client: APIClient, query: str, at: str = "", **more: Any) -> Any:
    answer = ask(client, query, at, **more)
    assert "errors" not in answer, answer
    return answer["data"]


def message(client: APIClient, query: str, **more: Any) -> str:
    answer = ask(client, query, **more)
    outcome = answer["errors"][0]["extensions"]["resource"]
    assert (answer["data"], outcome["resourceType"]) == (None, "OperationOutcome")
    return answer["errors"][0]["message"]


def test_members_aliases_and_arguments_of_lists(ann: APIClient) -> None:
    query = """{ Patient(id: "ann") { resourceType id birthDate deceasedBoolean
        official: name(use: official) { family given } name(_count: 1, _offset: 1) { given } } }"""
    assert data(ann, query)["Patient"] == {
        "resourceType": "Patient",
        "id": "ann",
        "birthDate": "1980-03-04",
        "deceasedBoolean": None,
        "official": [{"family": "Müller", "given": ["Ann", "Maria"]}],
        "name": [{"given": ["Annie"]}],
    }


def test_fhirpath_chooses_from_a_list(ann: APIClient) -> None:
    query = "{ name(fhirpath: \"use = 'nickname'\") { given @first } }"
    assert data(ann, query, "Patient/ann/") == {"name": [{"given": "Annie"}]}


def test_references_are_followed_and_typed(ann: APIClient) -> None:
    query = """query Q($id: ID!) { Patient(id: $id) {
        generalPractitioner { reference resource { ... on Practitioner { name { family } } ...P } }
        managingOrganization { resource(type: Practitioner) { id } } } }
        fragment P on Patient { birthDate }"""
    found = data(ann, query, variables={"id": "ann"})["Patient"]
    assert found["generalPractitioner"] == [
        {"reference": "Practitioner/doc", "resource": {"name": [{"family": "Grey"}]}}
    ]
    assert found["managingOrganization"] == {"resource": None}


def test_lists_search_and_resources_know_what_refers_to_them(ann: APIClient) -> None:
    query = """{ PatientList(name: "muller", _count: 5) { id
        ObservationList(_reference: subject, code: "2339-0", _sort: "-date") {
            valueQuantity { value } } } }"""
    [patient] = data(ann, query)["PatientList"]
    values = [o["valueQuantity"]["value"] for o in patient["ObservationList"]]
    assert values == [9.0, 7.0, 5.0]


def test_connections_page(ann: APIClient) -> None:
    query = """query($c: String) { ObservationConnection(patient: "ann", _count: 3, _cursor: $c) {
        count next edges { mode resource { id } } } }"""
    first = data(ann, query)["ObservationConnection"]
    assert (first["count"], len(first["edges"]), first["edges"][0]["mode"]) == (4, 3, "match")
    rest = data(ann, query, variables={"c": first["next"]})["ObservationConnection"]
    seen = [e["resource"]["id"] for e in [*first["edges"], *rest["edges"]]]
    assert (sorted(seen), rest["next"]) == (["crea", "glu1", "glu2", "glu3"], None)


def test_flatten_singleton_skip_and_include(ann: APIClient) -> None:
    query = """query($no: Boolean!) { Patient(id: "ann") {
        name @flatten { family @singleton given @include(if: true) use @skip(if: true) }
        id @include(if: $no) } }"""
    found = data(ann, query, variables={"no": False})["Patient"]
    assert found["family"] == "Müller"
    assert found["given"] == ["Ann", "Maria", "Annie"]
    assert set(found) == {"family", "given"}


def test_get_and_plain_queries(ann: APIClient) -> None:
    got = ann.get("/v1/fhir/Patient/ann/$graphql?query={birthDate}")
    assert got.json() == {"data": {"birthDate": "1980-03-04"}}
    plain = ann.post(
        "/v1/fhir/$graphql", '{ Patient(id: "ann") { id } }', content_type="application/graphql"
    )
    assert plain.json() == {"data": {"Patient": {"id": "ann"}}}


def test_contained_resources_and_backbones(ann: APIClient) -> None:
    put(
        ann,
        {
            "resourceType": "Patient",
            "id": "kid",
            "contained": [{"resourceType": "Organization", "id": "o", "name": "School"}],
            "contact": [{"organization": {"reference": "#o"}, "gender": "female"}],
        },
    )
    query = """{ contact { gender organization { resource { ... on Organization { name } } } }
        contained { __typename } }"""
    assert data(ann, query, "Patient/kid/") == {
        "contact": [{"gender": "female", "organization": {"resource": {"name": "School"}}}],
        "contained": [{"__typename": "Organization"}],
    }


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("{ Patient(id: ", "does not parse"),
        ('{ Patient(id: "ann") { nmae { family } } }', "no element `nmae`; did you mean `name`?"),
        ('{ Patient(id: "ann") { birthDate { year } } }', "is a primitive"),
        ('{ Patient(id: "ann") { name } }', "Say which members of `name`"),
        ('{ Patient(name: "x") { id } }', "takes one argument: `id`"),
        ("{ Dog { id } }", "There is no `Dog`"),
        ("{ PatientList(colour: red) { id } }", "colour"),
        ('{ Patient(id: "ann") { ObservationList(code: "x") { id } } }', "_reference"),
        ('mutation { PatientDelete(id: "ann") { id } }', "answers information, no `id`"),
        ("subscription { PatientList { id } }", "Subscriptions are resources"),
        ("query($id: ID!) { Patient(id: $id) { id } }", "`$id` is required"),
        ('{ Patient(id: "ann") { ...Loop } } fragment Loop on Patient { ...Loop }', "deeper"),
        ('{ Patient(id: "ann") { id @magic } }', "@magic"),
        ('{ Patient(id: "ann") { ...Nobody } }', "no fragment `Nobody`"),
        ('{ Patient(id: "ann") { name(fhirpath: "((") { family } } }', "FHIRPath"),
    ],
)
def test_errors_say_what_to_do(ann: APIClient, query: str, words: str) -> None:
    assert words in message(ann, query)


def test_fragments_that_multiply_are_stopped(ann: APIClient) -> None:
    levels = 20
    fragments = "".join(
        f" fragment F{n} on Patient {{ ...F{n + 1} ...F{n + 1} }}" for n in range(levels)
    )
    query = (
        f'{{ Patient(id: "ann") {{ ...F0 }} }} {fragments} fragment F{levels} on Patient {{ id }}'
    )
    assert "too many fields" in message(ann, query)


def test_the_scopes_of_the_types_are_needed(
    client_for: ClientFor, ann: APIClient, charlie_client: APIClient
) -> None:
    narrow = client_for(scopes=("Patient:read",))
    query = "{ generalPractitioner { resource { ... on Practitioner { id } } } }"
    assert data(narrow, query, "Patient/ann/") == {"generalPractitioner": [{"resource": None}]}
    reverse = "{ ObservationList(_reference: subject) { id } }"
    answer = ask(narrow, reverse, "Patient/ann/")
    assert "Observation:read" in answer["errors"][0]["message"]
    assert data(charlie_client, '{ Patient(id: "ann") { id } }') == {"Patient": None}
    assert data(charlie_client, "{ PatientList { id } }") == {"PatientList": []}


def test_a_body_without_a_query_is_400(ann: APIClient) -> None:
    for body in ("{}", '{"query": 5}', '{"query": "{x}", "variables": 5}'):
        answer = ann.post("/v1/fhir/$graphql", body, content_type="application/json")
        assert answer.status_code == 400
        assert answer.json()["resourceType"] == "OperationOutcome"


def test_slices_give_each_item_a_name(ann: APIClient) -> None:
    query = '{ name @slice(path: "use") { given } }'
    assert data(ann, query, "Patient/ann/") == {
        "name.official": [{"given": ["Ann", "Maria"]}],
        "name.nickname": [{"given": ["Annie"]}],
    }
    query = '{ name @slice(path: "$index") @flatten { given @first @singleton family } }'
    assert data(ann, query, "Patient/ann/") == {
        "given.0": "Ann",
        "family.0": ["Müller"],
        "given.1": "Annie",
    }
    assert "path" in message(ann, "{ PatientList { name @slice { given } } }")


CHALMERS = {
    "resourceType": "Patient",
    "id": "chalmers",
    "identifier": [{"use": "usual", "system": "urn:oid:1.2.36.146.595.217.0.1", "value": "12345"}],
    "active": True,
    "name": [
        {"use": "official", "family": "Chalmers", "given": ["Peter", "James"]},
        {"use": "usual", "given": ["Jim"]},
        {"use": "maiden", "family": "Windsor", "given": ["Peter", "James"]},
    ],
}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (
            "name @flatten { text given family }",
            {
                "given": ["Peter", "James", "Jim", "Peter", "James"],
                "family": ["Chalmers", "Windsor"],
            },
        ),
        (
            "name @flatten { text given @first family }",
            {"given": ["Peter", "Jim", "Peter"], "family": ["Chalmers", "Windsor"]},
        ),
        (
            "name @flatten @first { text given family @singleton }",
            {"given": ["Peter", "James"], "family": "Chalmers"},
        ),
        (
            'name @flatten @slice(path: "use") { given family @singleton }',
            {
                "given.official": ["Peter", "James"],
                "family.official": "Chalmers",
                "given.usual": ["Jim"],
                "given.maiden": ["Peter", "James"],
                "family.maiden": "Windsor",
            },
        ),
        (
            'name @flatten @slice(path: "$index") { given family @singleton }',
            {
                "given.0": ["Peter", "James"],
                "family.0": "Chalmers",
                "given.1": ["Jim"],
                "given.2": ["Peter", "James"],
                "family.2": "Windsor",
            },
        ),
    ],
)
def test_the_examples_of_the_specification(
    alice_client: APIClient, names: str, expected: dict[str, object]
) -> None:
    put(alice_client, CHALMERS)
    query = f"{{ identifier @flatten {{ system value @singleton }} active {names} }}"
    assert data(alice_client, query, "Patient/chalmers/") == {
        "system": ["urn:oid:1.2.36.146.595.217.0.1"],
        "value": "12345",
        "active": True,
        **expected,
    }
    query = "{ name @flatten { family @singleton } }"
    answer = ask(alice_client, query, "Patient/chalmers/")
    assert "several values" in answer["errors"][0]["message"]


def test_mutations_create_update_and_delete(ann: APIClient) -> None:
    query = """mutation M($new: PatientResourceInput!) {
        made: PatientCreate(resource: $new) { location resource { id active } }
        PatientUpdate(id: "ann", resource: {gender: male, name: [{family: "Meier"}]}) {
            resource { gender name { family } meta { versionId } }
            information { issue { severity } }
        }
        PatientDelete(id: "nobody") { information { issue { diagnostics } } } }"""
    found = data(ann, query, variables={"new": {"active": True}})
    rid = found["made"]["resource"]["id"]
    assert found["made"]["location"].endswith(f"/v1/fhir/Patient/{rid}/_history/1")
    assert found["PatientUpdate"]["resource"] == {
        "gender": "male",
        "name": [{"family": "Meier"}],
        "meta": {"versionId": "2"},
    }
    assert "never was" in found["PatientDelete"]["information"]["issue"][0]["diagnostics"]
    assert ann.get(f"/v1/fhir/Patient/{rid}").json()["active"] is True
    data(ann, f'mutation {{ PatientDelete(id: "{rid}") {{ information {{ id }} }} }}')
    assert ann.get(f"/v1/fhir/Patient/{rid}").status_code == 410


def test_a_mutation_writes_all_or_nothing(ann: APIClient) -> None:
    before = ann.get("/v1/fhir/_history?_count=0").json()["total"]
    for broken in (
        'PatientCreate(resource: {gender: "nonsense"}) { location }',
        'PatientCreate(resource: {resourceType: "Observation"}) { location }',
        "PatientCreate { location }",
        "PatientMerge(id: 1) { location }",
        "SubscriptionCreate(resource: {}) { location }",
        "PatientCreate(resource: {active: true}) { nothing }",
        'PatientUpdate(id: "ann", resource: {id: "other"}) { location }',
    ):
        query = (
            f"mutation {{ a: PatientCreate(resource: {{active: true}}) {{ location }} {broken} }}"
        )
        assert message(ann, query)
    answer = ann.get(
        "/v1/fhir/$graphql?query=mutation{PatientDelete(id:%22ann%22){information{id}}}"
    )
    assert "POST" in answer.json()["errors"][0]["message"]
    assert ann.get("/v1/fhir/_history?_count=0").json()["total"] == before


def test_a_mutation_needs_the_scopes_of_what_it_writes(
    ann: APIClient, client_for: ClientFor
) -> None:
    reader = client_for(scopes=("fhir:read",))
    query = 'mutation { PatientDelete(id: "ann") { information { id } } }'
    assert "Patient" in message(reader, query)
    assert ann.get("/v1/fhir/Patient/ann").status_code == 200


def test_charlie_changes_nothing_of_alices(ann: APIClient, charlie_client: APIClient) -> None:
    data(charlie_client, 'mutation { PatientDelete(id: "ann") { information { id } } }')
    assert ann.get("/v1/fhir/Patient/ann")["ETag"] == 'W/"1"'


def test_types_are_described(ann: APIClient) -> None:
    query = """query Q($name: String!) { __typename __type(name: $name) { name kind
        fields { name type { name kind ofType { name } } args { name } } } }"""
    found = data(ann, query, variables={"name": "Patient"})
    assert found["__typename"] == "Query"
    fields = {f["name"]: f for f in found["__type"]["fields"]}
    assert fields["name"]["type"] == {"name": None, "kind": "LIST", "ofType": {"name": "HumanName"}}
    assert {"_count", "_offset", "fhirpath", "use"} <= {a["name"] for a in fields["name"]["args"]}
    assert {"resourceType", "contact", "ObservationList", "deceasedBoolean"} <= set(fields)
    assert data(ann, '{ __type(name: "Nonsense") { name } }') == {"__type": None}
    assert "nothing" in message(ann, "{ __schema { nothing } }")


def test_the_schema_is_described_with_queries_mutations_and_directives(ann: APIClient) -> None:
    query = """{ __schema { queryType { name fields { name } } mutationType { name fields { name } }
        directives { name } } PatientList { id } }"""
    found = data(ann, query)
    schema = found["__schema"]
    queries = {field["name"] for field in schema["queryType"]["fields"]}
    assert {"Patient", "PatientList", "PatientConnection", "Binary"} <= queries
    assert "TaskUpdate" in {field["name"] for field in schema["mutationType"]["fields"]}
    assert {"flatten", "first", "singleton", "slice", "skip"} <= {
        directive["name"] for directive in schema["directives"]
    }
    assert {"id": "ann"} in found["PatientList"]
