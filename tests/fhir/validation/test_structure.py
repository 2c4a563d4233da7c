"""Every structural fault is found, named by its place, and comes with a remedy."""

import copy

import pytest

from fhir.validation import Issue, is_valid, preload, validate

OBSERVATION = {
    "resourceType": "Observation",
    "id": "obs_1",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8310-5"}]},
    "subject": {"reference": "Patient/pat_123"},
    "effectiveDateTime": "2026-11-22T10:00:00Z",
    "issued": "2026-11-22T10:00:00.123+01:00",
    "performer": [{"reference": "Organization/org_1"}],
    "valueQuantity": {"value": 101.2, "unit": "F"},
    "component": [{"code": {"text": "part"}, "valueBoolean": True}],
}

PATIENT = {
    "resourceType": "Patient",
    "active": True,
    "name": [{"family": "Smith", "given": ["Anna"]}],
    "gender": "female",
    "birthDate": "1980-02-29",
    "multipleBirthInteger": 2,
    "communication": [{"language": {"text": "en"}, "preferred": True}],
    "contained": [{"resourceType": "Organization", "id": "o", "name": "Clinic"}],
    "managingOrganization": {"reference": "#o"},
}


def changed(resource, place, value):
    """Answer a copy with one value set; None in the place of a value removes it."""
    found = copy.deepcopy(resource)
    *before, last = place
    owner = found
    for step in before:
        owner = owner[step]
    if value is REMOVED:
        del owner[last]
    else:
        owner[last] = value
    return found


REMOVED = object()


def test_the_untouched_resources_are_valid():
    assert validate(OBSERVATION) == []
    assert validate(PATIENT) == []
    assert is_valid(OBSERVATION, resource_type="Observation")


def test_the_fragment_of_the_documentation_lacks_its_status():
    fragment = {
        "resourceType": "Observation",
        "code": {
            "coding": [
                {"system": "http://loinc.org", "code": "8310-5", "display": "Body temperature"}
            ]
        },
        "valueQuantity": {"value": 101.2, "unit": "F"},
    }
    assert validate(fragment) == [
        Issue(
            "error",
            "required",
            "Observation.status",
            "Observation.status is required and is missing: add it; nothing is filled in.",
        )
    ]


FAULTS = {
    "required primitive missing": (OBSERVATION, ["status"], REMOVED, "Observation.status"),
    "required complex missing": (OBSERVATION, ["code"], REMOVED, "Observation.code"),
    "required inside an element": (
        *(OBSERVATION, ["component", 0, "code"], REMOVED),
        "Observation.component[0].code",
    ),
    "unknown element": (OBSERVATION, ["colour"], "red", "Observation.colour"),
    "array to scalar": (PATIENT, ["name"], {"family": "Smith"}, "Patient.name"),
    "scalar to array": (OBSERVATION, ["status"], ["final"], "Observation.status"),
    "string for boolean": (PATIENT, ["active"], "true", "Patient.active"),
    "string for number": (
        *(OBSERVATION, ["valueQuantity", "value"], "101.2"),
        "Observation.value.value",
    ),
    "number for string": (PATIENT, ["name", 0, "family"], 7, "Patient.name[0].family"),
    "month 13": (PATIENT, ["birthDate"], "1980-13-01", "Patient.birthDate"),
    "hour 25": (
        *(OBSERVATION, ["effectiveDateTime"], "2026-11-22T25:00:00Z"),
        "Observation.effective",
    ),
    "calendar date": (PATIENT, ["birthDate"], "2021-02-30", "Patient.birthDate"),
    "leap day in a common year": (PATIENT, ["birthDate"], "1900-02-29", "Patient.birthDate"),
    "instant on no day": (OBSERVATION, ["issued"], "2026-11-31T10:00:00Z", "Observation.issued"),
    "dateTime without zone": (
        *(OBSERVATION, ["effectiveDateTime"], "2026-11-22T10:00:00"),
        "Observation.effective",
    ),
    "required binding": (PATIENT, ["gender"], "f", "Patient.gender"),
    "two values": (OBSERVATION, ["valueString"], "x", "Observation.value"),
    "reference to a wrong type": (
        *(OBSERVATION, ["subject", "reference"], "Practitioner/1"),
        "Observation.subject.reference",
    ),
    "absolute reference to a wrong type": (
        *(OBSERVATION, ["subject", "reference"], "https://x.org/fhir/Practitioner/1"),
        "Observation.subject",
    ),
    "reference typed wrongly": (
        *(OBSERVATION, ["subject"], {"type": "Medication", "display": "x"}),
        "Observation.subject",
    ),
    "empty string": (PATIENT, ["name", 0, "family"], "", "Patient.name[0].family"),
    "white space only": (PATIENT, ["name", 0, "family"], "  ", "Patient.name[0].family"),
    "empty array": (PATIENT, ["name"], [], "Patient.name"),
    "empty object": (OBSERVATION, ["code"], {}, "Observation.code"),
    "null value": (PATIENT, ["gender"], None, "Patient.gender"),
    "null in an array": (PATIENT, ["name", 0, "given"], [None], "Patient.name[0].given[0]"),
    "id with bad characters": (OBSERVATION, ["id"], "a/b", "Observation.id"),
    "id of 65 characters": (OBSERVATION, ["id"], "x" * 65, "Observation.id"),
    "uri with a space": (
        *(OBSERVATION, ["code", "coding", 0, "system"], "http://loinc org"),
        "Observation.code.coding[0].system",
    ),
    "integer out of range": (PATIENT, ["multipleBirthInteger"], 2**31, "Patient.multipleBirth"),
    "fraction for an integer": (PATIENT, ["multipleBirthInteger"], 1.5, "Patient.multipleBirth"),
    "fault in contained": (
        *(PATIENT, ["contained", 0, "active"], "yes"),
        "Patient.contained[0].active",
    ),
    "unknown type in contained": (
        *(PATIENT, ["contained", 0, "resourceType"], "Clinic"),
        "Patient.contained[0].resourceType",
    ),
    "string beyond 1 MB": (
        *(PATIENT, ["name", 0, "family"], "x" * (1024 * 1024 + 1)),
        "Patient.name[0].family",
    ),
    "only nulls beside a repeated primitive": (
        *(PATIENT, ["name", 0, "_given"], [None]),
        "Patient.name[0].given",
    ),
    "rubbish beside a repeated primitive": (
        *(PATIENT, ["name", 0, "_given"], ["x", {"id": "a"}]),
        "Patient.name[0].given[0]",
    ),
    "negative count": (
        *(OBSERVATION, ["component", 0, "valueSampledData"], {"origin": {}, "period": 1}),
        "Observation.component[0].value.dimensions",
    ),
    "only an id": (OBSERVATION, ["method"], {"id": "x"}, "Observation.method"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_class_of_fault_is_found_and_named(fault):
    resource, place, value, expression = FAULTS[fault]
    issues = validate(changed(resource, place, value))
    assert expression in [issue.expression for issue in issues]
    assert {issue.severity for issue in issues} == {"error"}
    assert all(expression in issue.diagnostics or issue.diagnostics for issue in issues)
    assert not is_valid(changed(resource, place, value))


def test_required_choices_are_named_by_their_element():
    assert validate({"resourceType": "Immunization", "status": "completed"})[-1].expression == (
        "Immunization.occurrence"
    )
    text = [issue.diagnostics for issue in validate({"resourceType": "Immunization"})]
    assert (
        "Immunization.occurrence is required and is missing: add one of occurrenceDateTime, "
        "occurrenceString."
    ) in text


def test_all_faults_are_answered_at_once():
    broken = {
        **OBSERVATION,
        "status": "done",
        "categry": [],
        "issued": "2026-02-30T00:00:00Z",
        "component": [{}],
    }
    assert {(issue.code, issue.expression) for issue in validate(broken)} == {
        ("code-invalid", "Observation.status"),
        ("structure", "Observation.categry"),
        ("value", "Observation.issued"),
        ("structure", "Observation.component[0]"),
        ("required", "Observation.component[0].code"),
    }


def test_a_misspelled_element_gets_a_suggestion():
    issue = validate({**OBSERVATION, "categry": []})[0]
    assert issue.diagnostics == (
        "Observation has no element 'categry' in FHIR R4: did you mean 'category'?"
    )


def test_a_bad_code_gets_the_list_of_good_ones():
    issue = validate({**PATIENT, "gender": "f"})[0]
    assert issue.diagnostics == (
        "Patient.gender is 'f', which is not in http://hl7.org/fhir/ValueSet/administrative-gender:"
        " use one of female, male, other, unknown."
    )


def test_a_required_concept_needs_a_code_of_its_set():
    condition = {"resourceType": "Condition", "subject": {"reference": "Patient/1"}}
    wrong = {**condition, "clinicalStatus": {"coding": [{"system": "urn:x", "code": "active"}]}}
    assert validate(wrong)[0].code == "code-invalid"
    without = {**condition, "clinicalStatus": {"text": "active"}}
    assert [issue.expression for issue in validate(without)] == ["Condition.clinicalStatus.coding"]
    system = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    right = {**condition, "clinicalStatus": {"coding": [{"system": system, "code": "active"}]}}
    assert validate(right) == []


ABSENT = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "unknown",
        }
    ]
}


def test_an_extension_may_stand_in_for_a_required_primitive():
    absent = {**changed(OBSERVATION, ["status"], REMOVED), "_status": ABSENT}
    assert validate(absent) == []


def test_nulls_keep_repeated_primitives_in_step_with_their_extensions():
    named = {"resourceType": "Patient", "name": [{"given": [None, "B"], "_given": [ABSENT, None]}]}
    assert validate(named) == []
    bare = {"resourceType": "Patient", "name": [{"given": [None, "B"], "_given": [None, ABSENT]}]}
    assert [issue.expression for issue in validate(bare)] == ["Patient.name[0].given[0]"]


def test_an_id_alone_is_enough_beside_a_primitive_value():
    assert validate({"resourceType": "Patient", "gender": "male", "_gender": {"id": "g"}}) == []


@pytest.mark.parametrize(
    "reference",
    [
        *("Patient/pat_123", "Patient/1/_history/2", "https://x.org/fhir/Patient/1", "urn:uuid:1"),
        *("Patient?identifier=urn:x|1", "https://x.org/anything"),
    ],
)
def test_every_form_of_reference_is_accepted(reference):
    assert validate(changed(OBSERVATION, ["subject", "reference"], reference)) == []


@pytest.mark.parametrize(
    ("resource", "expression"),
    [
        ([], ""),
        ("Patient", ""),
        ({}, "resourceType"),
        ({"resourceType": 7}, "resourceType"),
        ({"resourceType": "Pazient"}, "resourceType"),
        ({"resourceType": "DomainResource"}, "resourceType"),
        ({"resourceType": "Patient"}, "resourceType"),
    ],
)
def test_what_is_not_a_resource_of_the_expected_type_is_refused(resource, expression):
    issues = validate(resource, resource_type="Observation")
    assert [issue.expression for issue in issues] == [expression]


def test_entries_of_bundles_are_validated_by_their_own_type():
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": "urn:uuid:1",
                "resource": {**PATIENT, "gender": "f"},
                "request": {"method": "POST", "url": "Patient"},
            }
        ],
    }
    assert [issue.expression for issue in validate(bundle)] == ["Bundle.entry[0].resource.gender"]


def test_parameters_are_validated_by_their_own_type_at_any_depth():
    parameters = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "a", "part": [{"name": "b", "resource": {**PATIENT, "gender": "f"}}]}
        ],
    }
    assert [issue.expression for issue in validate(parameters)] == [
        "Parameters.parameter[0].part[0].resource.gender"
    ]


@pytest.mark.parametrize("value", [7, "x", [], {}, [7], [None], [[]], {"id": 1}, True, None])
@pytest.mark.parametrize(
    "key", ["contained", "text", "subject", "component", "code", "meta", "extension", "_status"]
)
def test_rubbish_in_any_place_is_an_issue_and_no_crash(key, value):
    assert validate({**OBSERVATION, key: value}) != []


@pytest.mark.parametrize("value", [7, "x", [7], [None], [{"resource": 7}], {"resource": {}}])
def test_rubbish_in_entries_is_an_issue_and_no_crash(value):
    assert validate({"resourceType": "Bundle", "type": "batch", "entry": value}) != []
    assert validate({"resourceType": "Parameters", "parameter": value}) != []


def test_a_resource_nested_too_deeply_is_an_issue_and_no_crash():
    extension = {"url": "http://x", "valueBoolean": True}
    for _ in range(900):
        extension = {"url": "http://x", "extension": [extension]}
    issues = validate({"resourceType": "Patient", "extension": [extension]})
    assert [issue.code for issue in issues] == ["too-costly"]


def test_half_a_surrogate_pair_is_an_issue_and_no_crash():
    patient = {"resourceType": "Patient", "name": [{"family": "\ud800"}]}
    assert [issue.code for issue in validate(patient)] == ["value"]


def test_a_fragment_finds_its_way_through_broken_contained_resources():
    patient = {
        "resourceType": "Patient",
        "managingOrganization": {"reference": "#o"},
        "contained": [
            7,
            {"resourceType": "Organization", "id": "o", "partOf": {"reference": "#x"}},
        ],
    }
    expressions = [issue.expression for issue in validate(patient)]
    assert "Patient.contained[0]" in expressions
    assert "Patient.contained[1].partOf" in expressions


def test_a_code_of_a_long_list_gets_the_nearest_ones():
    bundle = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GETT", "url": "Patient"}}],
    }
    assert "use one of DELETE, GET, HEAD" in validate(bundle)[0].diagnostics
    definition = {"resourceType": "GraphDefinition", "name": "A", "status": "draft"}
    near = validate({**definition, "start": "Pateint"})[0].diagnostics
    assert "did you mean Patient" in near
    far = validate({**definition, "start": "7"})[0].diagnostics
    assert far.endswith("use one of its codes.")


@pytest.mark.parametrize(
    ("content_type", "is_right"),
    [("image/png", True), ("text/plain; charset=UTF-8", True), ("a b/c", False), ("a//b", False)],
)
def test_open_code_lists_are_checked_by_their_syntax(content_type, is_right):
    photo = {"resourceType": "Patient", "photo": [{"contentType": content_type}]}
    assert (validate(photo) == []) is is_right


def test_guides_may_use_parameters_of_their_publisher():
    guide = {
        "resourceType": "ImplementationGuide",
        "url": "http://hl7.org/fhir/us/core/ImplementationGuide/hl7.fhir.us.core",
        "name": "USCore",
        "status": "active",
        "packageId": "hl7.fhir.us.core",
        "fhirVersion": ["4.0.1"],
        "definition": {
            "resource": [{"reference": {"reference": "Patient/1"}}],
            "parameter": [{"code": "copyrightyear", "value": "2019+"}],
        },
    }
    assert validate(guide) == []
    guide["definition"]["parameter"][0]["code"] = "two  spaces"
    assert len(validate(guide)) == 1


def test_outcomes_inside_responses_are_validated():
    entry = {"response": {"status": "400", "outcome": {"resourceType": "OperationOutcome"}}}
    bundle = {"resourceType": "Bundle", "type": "batch-response", "entry": [entry]}
    assert [issue.expression for issue in validate(bundle)] == [
        "Bundle.entry[0].response.outcome.issue"
    ]


def test_preloading_compiles_schemas_and_rules_of_every_type(monkeypatch):
    types = ("Basic", "Flag")  # all 146 take seconds and 300 MB
    monkeypatch.setattr("fhir.validation.structure.resource_types", lambda: types)
    monkeypatch.setattr("fhir.validation.resources.resource_types", lambda: types)
    preload()
    assert validate({"resourceType": "Basic", "code": {"text": "x"}}) == []


@pytest.mark.parametrize("value", [1.0, -0.0, 2e0])
def test_whole_numbers_have_neither_point_nor_exponent(value):
    observation = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}}
    assert validate({**observation, "valueInteger": int(value)}) == []
    [issue] = validate({**observation, "valueInteger": value})
    assert "valueInteger must be written as whole number" in issue.diagnostics


def test_an_id_alone_stands_for_no_value():
    alone = {"resourceType": "Observation", "_status": {"id": "s"}, "code": {"text": "x"}}
    issues = [(issue.code, issue.expression) for issue in validate(alone)]
    assert issues == [("required", "Observation.status"), ("invariant", "Observation.status")]
    names = {"given": ["a", None], "_given": [None, {"id": "g"}]}
    assert not is_valid({"resourceType": "Patient", "name": [names]})
