"""The invariants of R4 hold or are named, each with its key."""

import re

import pytest

from fhir.validation import validate
from fhir.validation.invariants import unwritten_invariants
from fhir.validation.invariants.conformance import is_snomed_id

LOINC = {"system": "http://loinc.org", "code": "85354-9"}
SYSTEM = "http://terminology.hl7.org/CodeSystem/"
PATIENT = {"reference": "Patient/1"}


def observation(**elements):
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [LOINC]},
        **elements,
    }


def patient(**elements):
    return {"resourceType": "Patient", **elements}


def concept(system, code):
    return {"coding": [{"system": SYSTEM + system, "code": code}]}


def condition(**elements):
    return {"resourceType": "Condition", "subject": PATIENT, **elements}


def allergy(**elements):
    return {"resourceType": "AllergyIntolerance", "patient": PATIENT, **elements}


def bundle(kind, *entries, **elements):
    found = {"resourceType": "Bundle", "type": kind, **elements}
    return {**found, "entry": list(entries)} if entries else found


def prescription(**repeat):
    return {
        "resourceType": "MedicationRequest",
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {"text": "x"},
        "subject": PATIENT,
        "dosageInstruction": [{"timing": {"repeat": repeat}}],
    }


def question(**elements):
    item = {"linkId": "1", "type": "string", **elements}
    return {"resourceType": "Questionnaire", "status": "draft", "item": [item]}


def risk(**prediction):
    return {
        "resourceType": "RiskAssessment",
        "status": "final",
        "subject": PATIENT,
        "prediction": [prediction],
    }


DEFAULT = {"defaultValueString": "x"}
COMPOSITION = {
    "status": "final",
    "type": {"text": "x"},
    "date": "2020",
    "author": [{"display": "Dr. Adams"}],
    "title": "x",
}
CONTAINED = {"resourceType": "Organization", "id": "o", "name": "Clinic"}
BACK = {"url": "http://x", "valueReference": {"reference": "#"}}
POST = {"method": "POST", "url": "Patient"}
UCUM = "http://unitsofmeasure.org"
CLINICAL = "condition-clinical"
IN_ERROR = concept("condition-ver-status", "entered-in-error")
ALLERGY_IN_ERROR = concept("allergyintolerance-verification", "entered-in-error")
ALLERGY_ACTIVE = concept("allergyintolerance-clinical", "active")


def group(**target):
    return {
        "resourceType": "ConceptMap",
        "status": "draft",
        "group": [{"element": [{"target": [target]}]}],
    }


def statement(**elements):
    return {
        "resourceType": "CapabilityStatement",
        "status": "draft",
        "date": "2020",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "description": "x",
        "implementation": {"description": "x"},
        "rest": [{"mode": "server"}],
        **elements,
    }


def naming(kind, *types):
    return {
        "resourceType": "NamingSystem",
        "name": "A",
        "status": "draft",
        "date": "2020",
        "kind": kind,
        "uniqueId": [{"type": one, "value": str(n)} for n, one in enumerate(types)],
    }


def appointment(**elements):
    return {
        "resourceType": "Appointment",
        "status": "booked",
        "start": "2020-01-01T10:00:00Z",
        "end": "2020-01-01T11:00:00Z",
        "participant": [{"actor": PATIENT, "status": "accepted"}],
        **elements,
    }


def team(member):
    participant = {"member": {"reference": member}, "onBehalfOf": {"reference": "Organization/1"}}
    return {"resourceType": "CareTeam", "participant": [participant]}


def consent(**elements):
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": "something", "code": "research"}]},
        "category": [{"text": "x"}],
        "policyRule": {"text": "x"},
        **elements,
    }


def usage(**elements):
    return {
        "resourceType": "MolecularSequence",
        "coordinateSystem": 0,
        "referenceSeq": {"referenceSeqString": "A", **elements},
    }


PERSON = {"resourceType": "Practitioner", "active": True}


def snomed_set(value):
    include = {
        "system": "http://snomed.info/sct",
        "filter": [{"property": "concept", "op": "is-a", "value": value}],
    }
    return {"resourceType": "ValueSet", "status": "draft", "compose": {"include": [include]}}


def document(subject, full_url):
    composition = {
        "resourceType": "Composition",
        "id": "1",
        **COMPOSITION,
        "subject": {"reference": subject},
    }
    return bundle(
        "document",
        {"fullUrl": "http://x/Composition/1", "resource": composition},
        {"fullUrl": full_url, "resource": patient(id="2")},
        identifier={"system": "urn:x", "value": "1"},
        timestamp="2020-01-01T00:00:00Z",
    )


def answers(questionnaire):
    return {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "questionnaire": questionnaire,
    }


# key: (a resource that breaks it, where, the same put right)
CASES = {
    "per-1": (
        patient(name=[{"family": "A", "period": {"start": "2020-02", "end": "2020-01-31"}}]),
        "Patient.name[0].period",
        patient(name=[{"family": "A", "period": {"start": "2020-02", "end": "2020"}}]),
    ),
    "qty-3": (
        observation(valueQuantity={"value": 1, "code": "g"}),
        "Observation.value",
        observation(valueQuantity={"value": 1, "code": "g", "system": UCUM}),
    ),
    "ext-1": (
        patient(extension=[{"url": "http://x"}]),
        "Patient.extension[0]",
        patient(extension=[{"url": "http://x", "valueString": "y"}]),
    ),
    "ref-1": (
        patient(managingOrganization={"reference": "#o"}),
        "Patient.managingOrganization",
        patient(managingOrganization={"reference": "#o"}, contained=[CONTAINED]),
    ),
    "rng-2": (
        observation(valueRange={"low": {"value": 2}, "high": {"value": 1}}),
        "Observation.value",
        observation(valueRange={"low": {"value": 1}, "high": {"value": 1.0}}),
    ),
    "rat-1": (
        observation(valueRatio={"numerator": {"value": 1}}),
        "Observation.value",
        observation(valueRatio={"numerator": {"value": 1}, "denominator": {"value": 2}}),
    ),
    "cpt-2": (
        patient(telecom=[{"value": "555"}]),
        "Patient.telecom[0]",
        patient(telecom=[{"value": "555", "system": "phone"}]),
    ),
    "att-1": (
        patient(photo=[{"data": "AAAA"}]),
        "Patient.photo[0]",
        patient(photo=[{"data": "AAAA", "contentType": "image/png"}]),
    ),
    "attachment-size": (
        patient(photo=[{"data": "AAA=", "contentType": "image/png", "size": 3}]),
        "Patient.photo[0]",
        patient(photo=[{"data": "AAA=", "contentType": "image/png", "size": 2}]),
    ),
    "age-1": (
        condition(onsetAge={"value": -1, "code": "a", "system": UCUM}),
        "Condition.onset",
        condition(onsetAge={"value": 1, "code": "a", "system": UCUM}),
    ),
    "tim-1": (
        prescription(duration=1),
        "MedicationRequest.dosageInstruction[0].timing.repeat",
        prescription(duration=1, durationUnit="d"),
    ),
    "tim-5": (
        prescription(period=-1, periodUnit="d"),
        "MedicationRequest.dosageInstruction[0].timing.repeat",
        prescription(period=1, periodUnit="d"),
    ),
    "tim-9": (
        prescription(offset=10),
        "MedicationRequest.dosageInstruction[0].timing.repeat",
        prescription(offset=10, when=["ACM"]),
    ),
    "dom-2": (
        patient(
            managingOrganization={"reference": "#o"},
            contained=[{**CONTAINED, "contained": [{**CONTAINED, "extension": [BACK]}]}],
        ),
        "Patient",
        patient(managingOrganization={"reference": "#o"}, contained=[CONTAINED]),
    ),
    "dom-3": (
        patient(contained=[CONTAINED]),
        "Patient",
        patient(contained=[CONTAINED], managingOrganization={"reference": "#o"}),
    ),
    "dom-4": (
        patient(
            managingOrganization={"reference": "#o"},
            contained=[{**CONTAINED, "meta": {"versionId": "1"}}],
        ),
        "Patient",
        patient(
            managingOrganization={"reference": "#o"},
            contained=[{**CONTAINED, "meta": {"profile": ["http://x"]}}],
        ),
    ),
    "dom-5": (
        patient(
            managingOrganization={"reference": "#o"},
            contained=[{**CONTAINED, "meta": {"security": [{"code": "R"}]}}],
        ),
        "Patient",
        patient(managingOrganization={"reference": "#o"}, contained=[CONTAINED]),
    ),
    "obs-3": (
        observation(referenceRange=[{"type": {"text": "normal"}}]),
        "Observation.referenceRange[0]",
        observation(referenceRange=[{"text": "normal"}]),
    ),
    "obs-6": (
        observation(dataAbsentReason={"text": "x"}, valueString="y"),
        "Observation",
        observation(dataAbsentReason={"text": "x"}),
    ),
    "obs-7": (
        observation(valueString="y", component=[{"code": {"coding": [LOINC]}, "valueString": "z"}]),
        "Observation",
        observation(component=[{"code": {"coding": [LOINC]}, "valueString": "z"}]),
    ),
    "pat-1": (
        patient(contact=[{"gender": "male"}]),
        "Patient.contact[0]",
        patient(contact=[{"gender": "male", "name": {"text": "B"}}]),
    ),
    "con-1": (
        condition(stage=[{"type": {"text": "x"}}]),
        "Condition.stage[0]",
        condition(stage=[{"summary": {"text": "x"}}]),
    ),
    "con-4": (
        condition(abatementString="x", clinicalStatus=concept(CLINICAL, "active")),
        "Condition",
        condition(abatementString="x", clinicalStatus=concept(CLINICAL, "resolved")),
    ),
    "con-5": (
        condition(verificationStatus=IN_ERROR, clinicalStatus=concept(CLINICAL, "active")),
        "Condition",
        condition(verificationStatus=IN_ERROR),
    ),
    "ait-1": (allergy(), "AllergyIntolerance", allergy(clinicalStatus=ALLERGY_ACTIVE)),
    "ait-2": (
        allergy(verificationStatus=ALLERGY_IN_ERROR, clinicalStatus=ALLERGY_ACTIVE),
        "AllergyIntolerance",
        allergy(verificationStatus=ALLERGY_IN_ERROR),
    ),
    "org-1": (
        {"resourceType": "Organization", "active": True},
        "Organization",
        {"resourceType": "Organization", "name": "Clinic"},
    ),
    "org-3": (
        {**CONTAINED, "telecom": [{"system": "phone", "value": "5", "use": "home"}]},
        "Organization.telecom[0]",
        {**CONTAINED, "telecom": [{"system": "phone", "value": "5", "use": "work"}]},
    ),
    "inv-1": (
        {
            "resourceType": "Task",
            "status": "draft",
            "intent": "order",
            "authoredOn": "2020-02-01",
            "lastModified": "2020-01-01",
        },
        "Task",
        {
            "resourceType": "Task",
            "status": "draft",
            "intent": "order",
            "authoredOn": "2020-02-01",
            "lastModified": "2020-02",
        },
    ),
    "ras-1": (
        risk(probabilityRange={"low": {"value": 1}}),
        "RiskAssessment.prediction[0].probability",
        risk(probabilityRange={"low": {"value": 1, "code": "%", "system": UCUM}}),
    ),
    "ras-2": (
        risk(probabilityDecimal=100.5),
        "RiskAssessment.prediction[0]",
        risk(probabilityDecimal=100),
    ),
    "bdl-1": (bundle("batch", total=1), "Bundle", bundle("searchset", total=1)),
    "bdl-3": (
        bundle("transaction", {"resource": patient()}),
        "Bundle",
        bundle("transaction", {"resource": patient(), "request": POST}),
    ),
    "bdl-5": (
        bundle("collection", {"fullUrl": "urn:uuid:1"}),
        "Bundle.entry[0]",
        bundle("collection", {"fullUrl": "urn:uuid:1", "resource": patient()}),
    ),
    "bdl-7": (
        bundle("collection", *[{"fullUrl": "urn:uuid:1", "resource": patient()}] * 2),
        "Bundle",
        bundle("collection", {"fullUrl": "urn:uuid:1", "resource": patient()}),
    ),
    "bdl-8": (
        bundle("collection", {"fullUrl": "http://x/Patient/1/_history/1", "resource": patient()}),
        "Bundle.entry[0]",
        bundle("collection", {"fullUrl": "http://x/Patient/1", "resource": patient(id="1")}),
    ),
    "bundle-full-url-id": (
        bundle("collection", {"fullUrl": "http://x/Patient/1", "resource": patient(id="2")}),
        "Bundle.entry[0]",
        bundle("collection", {"fullUrl": "http://x/Patient/1", "resource": patient(id="1")}),
    ),
    "bundle-search-id": (
        bundle("searchset", {"resource": patient()}),
        "Bundle",
        bundle("searchset", {"resource": patient(id="1")}),
    ),
    "document-references": (
        document("Patient/1", "urn:uuid:2"),
        "Bundle",
        document("Patient/2", "http://x/Patient/2"),
    ),
    "snomed-filter": (
        snomed_set("something"),
        "ValueSet.compose.include[0]",
        snomed_set("73211009"),
    ),
    "system-absolute": (
        {**snomed_set("x"), "compose": {"include": [{"system": "#c1"}]}},
        "ValueSet.compose.include[0]",
        {**snomed_set("x"), "compose": {"include": [{"system": "http://x"}]}},
    ),
    "url-absolute": (
        {"resourceType": "ValueSet", "status": "draft", "url": "ValueSet/1"},
        "ValueSet",
        {"resourceType": "ValueSet", "status": "draft", "url": "urn:uuid:1"},
    ),
    "reference-type": (
        patient(generalPractitioner=[{"reference": "Organization/1", "type": "Practitioner"}]),
        "Patient.generalPractitioner[0]",
        patient(generalPractitioner=[{"reference": "Organization/1", "type": "Organization"}]),
    ),
    "canonical target": (
        answers("http://hl7.org/fhir/ValueSet/example"),
        "QuestionnaireResponse",
        answers("http://hl7.org/fhir/Questionnaire/example"),
    ),
    "reference target": (
        patient(managingOrganization={"reference": "#p"}, contained=[{**PERSON, "id": "p"}]),
        "Patient.managingOrganization",
        patient(generalPractitioner=[{"reference": "#p"}], contained=[{**PERSON, "id": "p"}]),
    ),
    "cmd-1": (
        group(equivalence="narrower"),
        "ConceptMap.group[0].element[0].target[0]",
        group(equivalence="narrower", comment="x"),
    ),
    "cpb-14": (
        {k: v for k, v in statement().items() if k != "implementation"},
        "CapabilityStatement",
        statement(),
    ),
    "cpb-15": (
        statement(kind="capability"),
        "CapabilityStatement",
        {
            **{k: v for k, v in statement(kind="capability").items() if k != "implementation"},
            "software": {"name": "x"},
        },
    ),
    "cpb-16": (
        statement(kind="requirements"),
        "CapabilityStatement",
        {k: v for k, v in statement(kind="requirements").items() if k != "implementation"},
    ),
    "cpb-9": (
        statement(rest=[{"mode": "server", "resource": [{"type": "Patient"}] * 2}]),
        "CapabilityStatement.rest[0]",
        statement(rest=[{"mode": "server", "resource": [{"type": "Patient"}]}]),
    ),
    "nsd-1": (naming("root", "uuid"), "NamingSystem", naming("identifier", "uuid")),
    "app-2": (
        {k: v for k, v in appointment(status="proposed").items() if k != "end"},
        "Appointment",
        appointment(),
    ),
    "app-3": (
        {k: v for k, v in appointment().items() if k not in {"start", "end"}},
        "Appointment",
        {k: v for k, v in appointment(status="waitlist").items() if k not in {"start", "end"}},
    ),
    "ctm-1": (team("Patient/1"), "CareTeam.participant[0]", team("Practitioner/1")),
    "ppc-3": (consent(), "Consent", consent(patient=PATIENT)),
    "msq-5": (
        usage(chromosome={"text": "7"}),
        "MolecularSequence.referenceSeq",
        usage(),
    ),
    "que-7": (
        question(enableWhen=[{"question": "1", "operator": "exists", "answerString": "x"}]),
        "Questionnaire.item[0].enableWhen[0]",
        question(enableWhen=[{"question": "1", "operator": "exists", "answerBoolean": True}]),
    ),
    "que-2": (
        {
            **question(),
            "item": [{"linkId": "1", "type": "string"}, {"linkId": "1", "type": "string"}],
        },
        "Questionnaire",
        question(),
    ),
    "bdl-9": (
        bundle(
            "document",
            {"resource": {"resourceType": "Composition", "id": "c", **COMPOSITION}},
            timestamp="2020-01-01T00:00:00Z",
        ),
        "Bundle",
        bundle(
            "document",
            {"resource": {"resourceType": "Composition", "id": "c", **COMPOSITION}},
            timestamp="2020-01-01T00:00:00Z",
            identifier={"system": "urn:x", "value": "1"},
        ),
    ),
    "bdl-12": (
        bundle("message", {"resource": patient()}),
        "Bundle",
        bundle("batch"),
    ),
    "que-1": (question(type="group"), "Questionnaire.item[0]", question()),
    "que-12": (
        question(
            enableWhen=[{"question": "1", "operator": "exists", "answerBoolean": True}] * 2,
        ),
        "Questionnaire.item[0]",
        question(
            enableWhen=[{"question": "1", "operator": "exists", "answerBoolean": True}] * 2,
            enableBehavior="all",
        ),
    ),
}


@pytest.mark.parametrize("key", CASES)
def test_a_broken_invariant_is_named_with_its_place(key):
    broken, expression, right = CASES[key]
    found = {
        (re.search(r"\(([^()]*)\)$", issue.diagnostics)[1], issue.expression)
        for issue in validate(broken)
        if issue.code == "invariant"
    }
    assert found == {(key, expression)}
    assert validate(right) == []


def test_warnings_are_answered_on_demand_only():
    assert validate(patient()) == []
    issue = validate(patient(), warnings=True)[0]
    assert (issue.severity, issue.expression) == ("warning", "Patient")
    assert issue.diagnostics.endswith("(dom-6)")


def test_a_rule_that_trips_over_a_wrong_shape_says_nothing():
    broken = observation(valueQuantity={"value": "x", "code": "g"}, effectivePeriod={"start": 7})
    codes = {(issue.code, issue.expression) for issue in validate(broken)}
    assert ("structure", "Observation.effective.start") in codes
    assert ("invariant", "Observation.value") in codes  # qty-3, in the same answer


@pytest.mark.parametrize("meta", [[{}], "x", None, {"versionId": [1]}])
def test_a_sound_bundle_bears_entries_of_a_wrong_shape(meta):
    entry = {"fullUrl": "http://x.org/Patient/1", "resource": {**patient(), "id": "1"}}
    entry["resource"]["meta"] = meta
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": [entry]}
    assert validate(bundle)[0].expression.startswith("Bundle.entry[0].resource.meta")


def test_a_profile_with_an_empty_snapshot_is_refused():
    broken = {**profile(), "snapshot": {"element": []}}
    expressions = [issue.expression for issue in validate(broken)]
    assert expressions == ["StructureDefinition.snapshot.element"]


def test_every_invariant_of_r4_has_a_rule():
    assert set(unwritten_invariants()) == set()


def profile(root=None, element=None, **changes):
    """Answer a small valid StructureDefinition, changed in its root or second element."""
    first = {"id": "Patient", "path": "Patient", "min": 0, "max": "*", **(root or {})}
    second = {
        "id": "Patient.name",
        "path": "Patient.name",
        "min": 0,
        "max": "1",
        "type": [{"code": "HumanName"}],
        **(element or {}),
    }
    whole = {"definition": "x", "base": {"path": "Patient", "min": 0, "max": "*"}}
    return {
        "resourceType": "StructureDefinition",
        "url": "http://example.org/profile",
        "name": "Profile",
        "status": "draft",
        "kind": "resource",
        "abstract": False,
        "type": "Patient",
        "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Patient",
        "derivation": "constraint",
        "snapshot": {"element": [{**first, **whole}, {**second, **whole}]},
        "differential": {"element": [first, second]},
        **changes,
    }


def test_the_small_profile_is_valid():
    assert validate(profile()) == []


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("eld-1", {"element": {"slicing": {"rules": "open"}}}),
        ("eld-2", {"element": {"min": 2}}),
        ("eld-3", {"element": {"max": "many"}}),
        ("eld-4", {"element": {"type": [{"code": "HumanName", "aggregation": ["bundled"]}]}}),
        ("eld-5", {"element": {"contentReference": "#Patient.contact"}}),
        (
            "eld-6",
            {"element": {"fixedString": "x", "type": [{"code": "string"}, {"code": "code"}]}},
        ),
        (
            "eld-7",
            {"element": {"patternString": "x", "type": [{"code": "string"}, {"code": "code"}]}},
        ),
        ("eld-8", {"element": {"patternString": "x", "fixedString": "x"}}),
        (
            "eld-12",
            {"element": {"binding": {"strength": "required", "valueSet": "ValueSet/x"}}},
        ),
        ("eld-13", {"element": {"type": [{"code": "HumanName"}] * 2}}),
        (
            "eld-14",
            {
                "element": {
                    "constraint": [
                        {"key": "a", "severity": "error", "human": "x", "expression": "true"}
                    ]
                    * 2
                }
            },
        ),
        ("eld-16", {"element": {"sliceName": "a b"}}),
        ("eld-17", {"element": {"type": [{"code": "string", "targetProfile": ["http://x"]}]}}),
        ("eld-18", {"element": {"isModifier": True}}),
        ("eld-22", {"element": {"sliceIsConstraining": True}}),
        ("sdf-2", {"mapping": [{"identity": "x"}]}),
        ("sdf-4", {"baseDefinition": None}),
        ("sdf-5", {"type": "Extension", "root": {"path": "Extension", "id": "e"}}),
        ("sdf-6", {"snapshot": None, "differential": None}),
        ("sdf-8", {"element": {"path": "Other.name"}}),
        ("sdf-9", {"root": {"label": "x"}}),
        ("sdf-10", {"element": {"binding": {"strength": "required"}}}),
        ("sdf-11", {"type": "Group"}),
        ("sdf-16", {"element": {"id": "Patient"}}),
        ("sdf-18", {"contextInvariant": ["true"]}),
        ("sdf-20", {"root": {"slicing": {"rules": "open", "description": "x"}}}),
        ("sdf-21", {"element": {"defaultValueString": "x"}}),
        ("sdf-22", {"url": "http://hl7.org/fhir/StructureDefinition/a", "element": DEFAULT}),
        ("sdf-23", {"root": {"sliceName": "x"}}),
        (
            "sdf-19",
            {
                "url": "http://hl7.org/fhir/StructureDefinition/a",
                "element": {"type": [{"code": "http://own"}]},
            },
        ),
    ],
)
def test_profiles_are_held_to_their_invariants(key, changes):
    broken = {k: v for k, v in profile(**changes).items() if v is not None}
    keys = {re.search(r"\(([^()]*)\)$", issue.diagnostics)[1] for issue in validate(broken)}
    assert key in keys


def guide(**definition):
    return {
        "resourceType": "ImplementationGuide",
        "url": "http://x",
        "name": "A",
        "status": "draft",
        "packageId": "a.b",
        "fhirVersion": ["4.0.1"],
        "definition": {"grouping": [{"id": "g", "name": "G"}], **definition},
    }


def test_guides_name_their_groups_and_versions():
    right = {"reference": {"reference": "Patient/1"}, "groupingId": "g", "fhirVersion": ["4.0.1"]}
    assert validate(guide(resource=[right])) == []
    wrong = {**right, "groupingId": "h", "fhirVersion": ["4.0.0"]}
    keys = [issue.diagnostics[-6:] for issue in validate(guide(resource=[wrong]))]
    assert keys == ["(ig-2)", "(ig-1)"]


def script(action):
    return {
        "resourceType": "TestScript",
        "url": "http://x",
        "name": "A",
        "status": "draft",
        "test": [{"action": [action]}],
    }


def test_scripts_assert_one_thing_and_have_a_target():
    # The steps of a test repeat the content of those of the setup, and so their invariants.
    asserted = {"responseCode": "200", "warningOnly": False}
    assert validate(script({"assert": asserted})) == []
    several = {**asserted, "path": "x", "direction": "request", "compareToSourceId": "s"}
    keys = {issue.diagnostics[-8:] for issue in validate(script({"assert": several}))}
    assert keys == {" (tst-5)", "(tst-10)", "(tst-12)"}
    operation = {"encodeRequestUrl": True}
    assert validate(script({"operation": {**operation, "url": "/Patient"}})) == []
    aimless = validate(script({"operation": operation}))
    assert [issue.diagnostics[-7:] for issue in aimless] == ["(tst-7)"]


def test_a_duration_count_or_distance_is_in_ucum():
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "length": {"value": 1, "code": "h"},
    }
    keys = [issue.diagnostics[-7:] for issue in validate(encounter)]
    assert keys == ["(qty-3)", "(drt-1)"]
    assert validate({**encounter, "length": {"value": 1, "code": "h", "system": UCUM}}) == []
    extension = {"url": "http://x", "valueCount": {"value": 1.5, "code": "1", "system": UCUM}}
    assert validate(patient(extension=[extension]))[0].diagnostics.endswith("(cnt-3)")
    extension = {"url": "http://x", "valueCount": {"value": 2, "code": "1", "system": UCUM}}
    assert validate(patient(extension=[extension])) == []


def test_a_trigger_has_what_its_type_needs():
    plan = {"resourceType": "PlanDefinition", "status": "draft"}
    action = {"title": "x", "trigger": [{"type": "named-event"}]}
    assert validate({**plan, "action": [action]})[0].diagnostics.endswith("(trd-3)")
    action = {"title": "x", "trigger": [{"type": "named-event", "name": "event"}]}
    assert validate({**plan, "action": [action]}) == []


def test_names_of_definitions_are_only_warned_about():
    value_set = {"resourceType": "ValueSet", "status": "draft", "name": "my set"}
    assert validate(value_set) == []
    warnings = [issue.diagnostics[-7:] for issue in validate(value_set, warnings=True)]
    assert warnings == ["(dom-6)", "(vsd-0)"]


def test_a_problem_without_status_is_only_warned_about():
    problem = condition(category=[concept("condition-category", "problem-list-item")])
    assert validate(problem) == []
    assert any("(con-3)" in issue.diagnostics for issue in validate(problem, warnings=True))


def test_a_reference_to_an_entry_of_a_wrong_type_is_found_in_its_bundle():
    entry = {
        "fullUrl": "urn:uuid:0190b0a5-6b8e-7c3d-9a4f-8e5d2c1b0a01",
        "resource": patient(managingOrganization={"reference": "urn:uuid:2"}),
    }
    broken = bundle("collection", entry, {"fullUrl": "urn:uuid:2", "resource": PERSON})
    [issue] = validate(broken)
    assert issue.expression == "Bundle.entry[0].resource.managingOrganization"
    assert "(reference target)" in issue.diagnostics
    clinic = {"resourceType": "Organization", "name": "Clinic"}
    whole = bundle("collection", entry, {"fullUrl": "urn:uuid:2", "resource": clinic})
    assert validate(whole) == []


@pytest.mark.parametrize("text", ["something", "12345", "73211008", "38341004", "1" * 19, ""])
def test_what_is_no_snomed_id(text):
    assert not is_snomed_id(text)


@pytest.mark.parametrize("text", ["73211009", "38341003", "900000000000207008"])
def test_what_is_a_snomed_id(text):
    assert is_snomed_id(text)


def test_versioned_references_of_a_document_find_their_version():
    versions = [
        {
            "fullUrl": "http://x/Patient/2",
            "resource": patient(id="2", meta={"versionId": version}),
        }
        for version in ("1", "2")
    ]
    ambiguous = document("Patient/2", "http://x/Patient/2")
    ambiguous["entry"][1:] = versions
    assert [issue.expression for issue in validate(ambiguous)] == ["Bundle"]
    named = document("Patient/2/_history/1", "http://x/Patient/2")
    named["entry"][1:] = versions
    assert validate(named) == []


@pytest.mark.parametrize(
    ("code", "is_unit"),
    [
        *((code, True) for code in ("mm[Hg]", "10*3/uL", "{score}", "[pH]", "mL/min/{1.73_m2}")),
        *((code, False) for code in ("fmm[Hg]", "foo", "mg//dL", "lbs", "kg m", "°C")),
    ],
)
def test_a_code_that_is_no_unit_of_ucum_is_warned_about(code, is_unit):
    quantity = {"value": 1, "system": "http://unitsofmeasure.org", "code": code}
    assert validate(observation(valueQuantity=quantity)) == []
    warned = [
        issue.expression
        for issue in validate(observation(valueQuantity=quantity), warnings=True)
        if "(ucum-code)" in issue.diagnostics
    ]
    assert warned == ([] if is_unit else ["Observation.value"])


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"_gender": {"id": "g"}}, "Patient.gender"),
        ({"name": [{"text": "x", "_family": {"id": "f"}}]}, "Patient.name[0].family"),
        ({"name": [{"text": "x", "_given": [{"id": "a"}]}]}, "Patient.name[0].given"),
    ],
)
def test_an_id_alone_is_no_primitive(changes, place):
    found = [(issue.expression, issue.diagnostics) for issue in validate(patient(**changes))]
    assert [expression for expression, _ in found] == [place]
    assert "(ele-1)" in found[0][1]
    extended = [{"url": "http://x.org/e", "valueString": "y"}]
    assert validate(patient(_gender={"id": "g", "extension": extended})) == []
    assert validate(patient(gender="male", _gender={"id": "g"})) == []


def test_an_outcome_among_search_results_needs_no_id():
    issue = {"severity": "information", "code": "informational"}
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    entries = [{"resource": outcome, "search": {"mode": "outcome"}}]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    assert validate(bundle) == []
    nameless = {**bundle, "entry": [{"resource": patient()}]}
    assert "(bundle-search-id)" in validate(nameless)[0].diagnostics


def test_a_picture_in_the_narrative_refers_to_what_is_contained():
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><img src="#p" alt="x"/></div>'
    picture = {"resourceType": "Binary", "id": "p", "contentType": "image/png"}
    shown = patient(text={"status": "generated", "div": div}, contained=[picture])
    assert validate(shown) == []
    other = patient(contained=[{**picture, "id": "q"}], text=shown["text"])
    assert "(dom-3)" in validate(other)[0].diagnostics


def test_a_later_entry_of_a_bundle_may_have_another_id_than_its_address():
    def bundle(*entries):
        found = [
            {"fullUrl": f"http://x.org/{url}", "resource": {**patient(), "id": "b"}}
            for url in entries
        ]
        return {"resourceType": "Bundle", "type": "collection", "entry": found}

    assert validate(bundle("Patient/b", "Patient/a")) == []
    [warning] = [
        issue
        for issue in validate(bundle("Patient/b", "Patient/a"), warnings=True)
        if "bundle-full-url-same" in issue.diagnostics
    ]
    assert (warning.severity, warning.expression) == ("warning", "Bundle.entry[1]")
    for refused in (bundle("Patient/a"), bundle("Patient/b", "Group/b")):
        assert "(bundle-full-url-id)" in validate(refused)[0].diagnostics
