"""What searches can find a resource by."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from fhir.definitions import SearchParameter, UnknownResourceTypeError, resource_types
from fhir.search.extractors import (
    EARLIEST,
    LATEST,
    Composite,
    Date,
    Extracted,
    Number,
    Position,
    Quantity,
    Reference,
    String,
    Token,
    TypedIdentifier,
    UnsupportedExpressionError,
    Uri,
    compile_extractor,
    extract,
    extractor,
    preload,
    split_reference,
)

UCUM = "http://unitsofmeasure.org"
LOINC = "http://loinc.org"


def found(resource, kind, param):
    return [value for value in getattr(extract(resource), kind) if value.param == param]


def observation(**elements):
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {
            "coding": [{"system": LOINC, "code": "8310-5", "display": "Body temperature"}],
            "text": "Temp",
        },
        **elements,
    }


def test_a_concept_gives_its_codings_and_its_text():
    assert found(observation(), "tokens", "code") == [
        Token("code", LOINC, "8310-5", "Body temperature"),
        Token("code", None, None, "Temp"),
    ]


def test_a_code_has_the_implicit_system_of_its_value_set():
    assert found(observation(), "tokens", "status") == [
        Token("status", "http://hl7.org/fhir/observation-status", "final")
    ]


def test_identifiers_are_tokens_and_can_be_found_by_type():
    patient = {
        "resourceType": "Patient",
        "identifier": [
            {
                "type": {"coding": [{"system": "urn:types", "code": "MR"}], "text": "Record"},
                "system": "urn:hospital",
                "value": "42",
            }
        ],
    }
    assert found(patient, "tokens", "identifier") == [
        Token("identifier", "urn:hospital", "42", "Record")
    ]
    assert found(patient, "identifiers", "identifier") == [
        TypedIdentifier("identifier", "urn:types", "MR", "42")
    ]


def test_contact_points_are_chosen_by_system():
    patient = {
        "resourceType": "Patient",
        "telecom": [
            {"system": "phone", "value": "555"},
            {"system": "email", "value": "a@example.org"},
        ],
    }
    assert found(patient, "tokens", "email") == [
        Token("email", None, "a@example.org"),
        Token("email", "email", "a@example.org"),
    ]
    assert [token.code for token in found(patient, "tokens", "telecom")] == [
        *("555", "555", "a@example.org", "a@example.org"),
    ]


@pytest.mark.parametrize(
    ("deceased", "code"),
    [
        ({"deceasedBoolean": True}, "true"),
        ({"deceasedBoolean": False}, "false"),
        ({"deceasedDateTime": "2020"}, "true"),
    ],
)
def test_a_date_of_death_says_deceased(deceased, code):
    patient = {"resourceType": "Patient", **deceased}
    assert found(patient, "tokens", "deceased") == [Token("deceased", None, code)]


def test_names_and_addresses_give_every_part():
    patient = {
        "resourceType": "Patient",
        "name": [{"family": "Øst", "given": ["Anna", None], "suffix": ["MD"]}],
        "address": [{"line": ["1 Main St"], "city": "Oslo", "postalCode": "0150"}],
    }
    assert [value.value for value in found(patient, "strings", "name")] == ["Øst", "Anna", "MD"]
    assert found(patient, "strings", "family") == [String("family", "Øst")]
    assert found(patient, "strings", "given") == [String("given", "Anna")]
    assert {value.value for value in found(patient, "strings", "address")} == {
        *("1 Main St", "Oslo", "0150"),
    }


def test_dates_periods_and_timings_are_ranges():
    day = Date("date", datetime(2020, 2, 1, tzinfo=UTC), datetime(2020, 3, 1, tzinfo=UTC))
    assert found(observation(effectiveDateTime="2020-02"), "dates", "date") == [day]
    period = observation(effectivePeriod={"start": "2020-02-01", "end": "2020-02-29"})
    assert found(period, "dates", "date") == [day]
    open_end = observation(effectivePeriod={"start": "2020-02-01"})
    assert found(open_end, "dates", "date") == [Date("date", day.low, LATEST)]
    open_start = observation(effectivePeriod={"end": "2020-02"})
    assert found(open_start, "dates", "date") == [Date("date", EARLIEST, day.high)]
    timing = observation(effectiveTiming={"event": ["2020-02-29", "2020-02-01"]})
    assert found(timing, "dates", "date") == [day]
    assert found(observation(effectivePeriod={"id": "x"}), "dates", "date") == []


def test_quantities_compare_without_regard_to_precision():
    value = observation(valueQuantity={"value": 0.40, "unit": "g", "system": UCUM, "code": "g"})
    number = Decimal("0.4")
    assert found(value, "quantities", "value-quantity") == [
        Quantity("value-quantity", number, number, number, UCUM, "g", "g")
    ]


@pytest.mark.parametrize(
    ("comparator", "low", "high"),
    [("<", None, 5), ("<=", None, 5), (">", 5, None), (">=", 5, None)],
)
def test_a_comparator_opens_one_end(comparator, low, high):
    value = observation(valueQuantity={"value": 5, "comparator": comparator})
    quantity = found(value, "quantities", "value-quantity")[0]
    assert (quantity.value, quantity.low, quantity.high) == (None, low, high)


def test_ranges_and_money_are_quantities():
    condition = {
        "resourceType": "Condition",
        "onsetRange": {"low": {"value": 30, "unit": "a", "code": "a"}, "high": {"value": 40}},
    }
    assert found(condition, "quantities", "onset-age") == [
        Quantity("onset-age", None, Decimal(30), Decimal(40), None, "a", "a")
    ]
    invoice = {"resourceType": "Invoice", "totalNet": {"value": 12.5, "currency": "EUR"}}
    amount = Decimal("12.5")
    assert found(invoice, "quantities", "totalnet") == [
        Quantity("totalnet", amount, amount, amount, "urn:iso:std:iso:4217", "EUR", "EUR")
    ]


def test_numbers_are_exact():
    risk = {"resourceType": "RiskAssessment", "prediction": [{"probabilityDecimal": 0.1}]}
    tenth = Decimal("0.1")
    assert found(risk, "numbers", "probability") == [Number("probability", tenth, tenth, tenth)]


def test_references_are_read_in_all_their_forms():
    by_id = observation(subject={"reference": "Patient/pat_123", "display": "Anna"})
    assert found(by_id, "references", "subject") == [
        Reference("subject", "Patient", "pat_123", text="Anna")
    ]
    assert found(by_id, "references", "patient") == [
        Reference("patient", "Patient", "pat_123", text="Anna")
    ]
    logical = observation(
        subject={"type": "Patient", "identifier": {"system": "urn:x", "value": "1"}}
    )
    expected = Reference(
        "patient", "Patient", None, identifier_system="urn:x", identifier_value="1"
    )
    assert found(logical, "references", "patient") == [expected]
    device = observation(subject={"reference": "Device/1"})
    assert found(device, "references", "patient") == []
    assert found(device, "references", "subject") == [Reference("subject", "Device", "1")]


def test_a_reference_to_a_contained_resource_cannot_be_found_by_id():
    contained = observation(
        contained=[{"resourceType": "Patient", "id": "p"}],
        subject={"reference": "#p", "display": "Anna"},
    )
    assert found(contained, "references", "patient") == [
        Reference("patient", None, None, text="Anna")
    ]
    assert "subject" in extract(observation(subject={"reference": "#p"})).present()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Patient/1", ("Patient", "1", None, None)),
        ("Patient/1/_history/2", ("Patient", "1", "2", None)),
        ("http://x/fhir/Patient/1", ("Patient", "1", None, "http://x/fhir/Patient/1")),
        ("urn:uuid:1-2", (None, None, None, "urn:uuid:1-2")),
        ("http://x/other", (None, None, None, "http://x/other")),
        ("#p", (None, None, None, None)),
        ("Pazient/1", (None, None, None, None)),
        ("x/Patient/1", (None, None, None, None)),
    ],
)
def test_literal_references_are_taken_apart(text, parts):
    assert split_reference(text) == parts


def test_canonicals_keep_url_and_version():
    plan = {
        "resourceType": "CarePlan",
        "instantiatesCanonical": ["http://x/plan|1.2"],
        "instantiatesUri": ["http://y"],
    }
    assert found(plan, "references", "instantiates-canonical") == [
        Reference("instantiates-canonical", None, None, "1.2", "http://x/plan")
    ]
    assert found(plan, "uris", "instantiates-uri") == [Uri("instantiates-uri", "http://y")]


def test_meta_is_searchable_and_columns_are_left_to_the_store():
    tagged = observation(
        id="1",
        meta={
            "lastUpdated": "2020-01-01T00:00:00Z",
            "profile": ["http://profile"],
            "tag": [{"system": "urn:tags", "code": "x"}],
        },
    )
    values = extract(tagged)
    assert Token("_tag", "urn:tags", "x") in values.tokens
    assert Uri("_profile", "http://profile") in values.uris
    assert not {"_id", "_lastUpdated"} & values.present()


def test_composites_pair_values_of_the_same_focus():
    value = observation(
        valueQuantity={"value": 37},
        component=[{"code": {"coding": [{"code": "b"}]}, "valueQuantity": {"value": 1}}],
    )
    outer, inner = Decimal(37), Decimal(1)
    assert extract(value).composites == [
        Composite(
            param,
            (
                Token("", LOINC, "8310-5", "Body temperature"),
                Quantity("", outer, outer, outer, None, None, None),
            ),
        )
        for param in ("code-value-quantity",)
    ] + [
        Composite(
            param,
            (Token("", None, "b"), Quantity("", inner, inner, inner, None, None, None)),
        )
        for param in ("component-code-value-quantity",)
    ]


def test_a_composite_may_look_back_to_the_resource():
    sequence = {
        "resourceType": "MolecularSequence",
        "coordinateSystem": 0,
        "referenceSeq": {"chromosome": {"coding": [{"code": "7"}]}},
        "variant": [{"start": 5, "end": 6}],
    }
    names = {composite.param for composite in extract(sequence).composites}
    assert "chromosome-variant-coordinate" in names


def test_places_are_positions():
    place = {"resourceType": "Location", "position": {"latitude": 1.5, "longitude": -2}}
    assert extract(place).positions == [Position("near", 1.5, -2.0)]


def test_the_first_entry_of_a_document_is_its_composition():
    bundle = {
        "resourceType": "Bundle",
        "type": "document",
        "entry": [
            {"resource": {"resourceType": "Composition", "id": "c"}},
            {"resource": {"resourceType": "Patient", "id": "p"}},
        ],
    }
    assert found(bundle, "references", "composition") == [
        Reference("composition", "Composition", "c")
    ]


def test_present_names_the_parameters_with_a_value():
    assert extract({"resourceType": "Patient", "active": True}).present() == {"active"}


def test_every_type_has_an_extractor_that_bears_an_empty_resource():
    for resource_type in resource_types():
        values = extractor(resource_type)({"resourceType": resource_type})
        assert values == Extracted(*([] for _ in Extracted.__struct_fields__))


def test_unknown_types_are_refused():
    with pytest.raises(UnknownResourceTypeError):
        extract({"resourceType": "Pazient"})


def custom(expression):
    return SearchParameter(
        code="nickname",
        type="string",
        base="Patient",
        url="http://example.org/nickname",
        expression=expression,
        targets=(),
        components=(),
        multiple_or=True,
        multiple_and=True,
    )


def test_a_custom_parameter_is_compiled_the_same_way():
    parameter = custom("Patient.name.where(use='nickname').given")
    patient = {
        "resourceType": "Patient",
        "name": [{"use": "nickname", "given": ["Bo"]}, {"use": "usual", "given": ["Robert"]}],
    }
    values = compile_extractor("Patient", [parameter])(patient)
    assert values.strings == [String("nickname", "Bo")]


@pytest.mark.parametrize(
    ("expression", "values"),
    [
        ("Patient.name.where(use='usual' or given='Bo').given", ["Bo", "Robert"]),
        ("Patient.name.where(use='usual' and given='Bo').given", []),
        ("Patient.name.where((use='usual').not()).given", ["Bo"]),
        ("Patient.name.where(use!='usual').given", ["Bo"]),
        ("Patient.name.where(family.empty()).given", ["Bo"]),
        ("Patient.name.where(family.exists()).given", ["Robert"]),
        ("Patient.name.first().given", ["Bo"]),
        ("Patient.name[1].given", ["Robert"]),
        ("(Patient.name | Patient.contact.name).given", ["Bo", "Robert", "Eve"]),
        ("Patient.contact.where(relationship.coding.where(code='N').exists()).name.given", ["Eve"]),
        ("Patient.contact.where(organization.resolve() is Organization).name.given", ["Eve"]),
        ("Patient.contact.where(organization.resolve() is Patient).name.given", []),
        ("Patient.multipleBirth.where(resolve() is Patient) | Patient.name.family", ["Ek"]),
        ("Patient.birthDate.where(hasExtension('urn:b')) | Patient.name.family", ["Ek"]),
        ("Patient.birthDate.extension('urn:b').value", ["noon"]),
        ("Patient.birthDate.extension.where(url='urn:b').valueString", ["noon"]),
        ("Patient.extension('urn:o').extension('i').value", ["inner"]),
        ("Patient.extension.where(url='urn:o').extension.where(url='i').value", ["inner"]),
        ("Patient.name.`given`", ["Bo", "Robert"]),
    ],
)
def test_conditions_and_extensions_of_custom_parameters(expression, values):
    patient = {
        "resourceType": "Patient",
        "extension": [{"url": "urn:o", "extension": [{"url": "i", "valueString": "inner"}]}],
        "name": [
            {"use": "nickname", "given": ["Bo"]},
            {"use": "usual", "given": ["Robert"], "family": "Ek"},
        ],
        "birthDate": "1980-01-01",
        "_birthDate": {"extension": [{"url": "urn:b", "valueString": "noon"}]},
        "multipleBirthBoolean": True,
        "contact": [
            {
                "relationship": [{"coding": [{"code": "N"}, {"code": "E"}]}],
                "organization": {"reference": "Organization/1"},
                "name": {"given": ["Eve"]},
            }
        ],
    }
    found = compile_extractor("Patient", [custom(expression)])(patient)
    assert sorted(value.value for value in found.strings) == sorted(values)


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("Patient.name.exists()", "true"),
        ("Patient.photo.exists()", "false"),
        ("Patient.photo.empty() and Patient.name.exists()", "true"),
        ("Patient.active = true", "true"),
        ("Patient.active.not()", "false"),
        ("Patient.gender != 'male'", "false"),
    ],
)
def test_a_question_is_a_token_of_its_answer(expression, answer):
    parameter = replace(custom(expression), type="token")
    patient = {"resourceType": "Patient", "active": True, "name": [{"text": "Ann"}]}
    found = compile_extractor("Patient", [parameter])(patient)
    assert found.tokens == [Token("nickname", None, answer)]


@pytest.mark.parametrize(
    "expression",
    [
        "Patient.contact.telecom[0].value",
        "Patient.name.where(use='usual')[0].given",
        "Patient.name.given.where($this='x').extension('urn:a').value",
        "(((((((((Patient.name)))))))))",
        "Patient.name.where(use='a' xor use='b').given",
        "Patient.name.given" + "." * 4000,
    ],
)
def test_what_has_no_one_place_or_is_too_deep_is_refused(expression):
    with pytest.raises(UnsupportedExpressionError):
        compile_extractor("Patient", [custom(expression)])


def test_a_custom_parameter_that_is_no_path_is_refused():
    with pytest.raises(UnsupportedExpressionError, match="Cannot compile"):
        compile_extractor("Patient", [custom("Patient.name.count() + 1")])


def test_every_official_example_is_extracted(official_examples):
    counts = {
        name: len(extract(resource).present()) for name, resource in official_examples.items()
    }
    assert len(counts) == 675
    assert counts["Observation-f001.json"] == 9
    assert sum(counts.values()) > 3000


def test_sampled_data_lies_between_its_limits():
    sampled = {
        "origin": {"value": 0, "unit": "mV"},
        "period": 1,
        "dimensions": 1,
        "lowerLimit": -3,
        "upperLimit": 3.5,
    }
    assert found(observation(valueSampledData=sampled), "quantities", "value-quantity") == [
        Quantity("value-quantity", None, Decimal(-3), Decimal("3.5"), None, None, "mV")
    ]
    bare = observation(valueSampledData={"origin": {"unit": "mV"}, "period": 1, "dimensions": 1})
    assert found(bare, "quantities", "value-quantity") == []


def test_what_has_no_value_gives_no_quantity():
    assert found(observation(valueQuantity={"unit": "g"}), "quantities", "value-quantity") == []
    invoice = {"resourceType": "Invoice", "totalNet": {"currency": "EUR"}}
    assert extract(invoice).quantities == []
    condition = {"resourceType": "Condition", "onsetRange": {"low": {"unit": "a"}}}
    assert extract(condition).quantities == []
    empty = {"resourceType": "Condition", "onsetRange": {"id": "x"}}
    assert extract(empty).quantities == []


def test_ranges_may_be_searched_as_numbers():
    parameter = SearchParameter(
        code="probability",
        type="number",
        base="RiskAssessment",
        url="http://example.org/probability",
        expression="RiskAssessment.prediction.probability",
        targets=(),
        components=(),
        multiple_or=True,
        multiple_and=True,
    )
    risk = {
        "resourceType": "RiskAssessment",
        "prediction": [{"probabilityRange": {"low": {"value": 5}}}],
    }
    values = compile_extractor("RiskAssessment", [parameter])(risk)
    assert values.numbers == [Number("probability", None, Decimal(5), None)]


def test_codings_without_a_code_are_found_by_their_text_only():
    named = observation(code={"coding": [{"display": "Temp"}, {"system": "urn:x"}]})
    assert found(named, "tokens", "code") == [Token("code", None, None, "Temp")]
    tagged = observation(meta={"tag": [{"system": "urn:x"}, {"display": "x"}]})
    assert found(tagged, "tokens", "_tag") == [Token("_tag", None, None, "x")]


def test_contact_points_without_a_value_give_nothing():
    patient = {"resourceType": "Patient", "telecom": [{"system": "email"}, {"value": "5"}]}
    assert found(patient, "tokens", "telecom") == [Token("telecom", None, "5")]


def test_extensions_stand_for_their_values():
    url = "http://hl7.org/fhir/StructureDefinition/observation-geneticsGene"
    gene = {"url": url, "valueCodeableConcept": {"coding": [{"code": "BRCA1"}], "text": "x"}}
    other = {"url": "http://other", "valueBoolean": True}
    assert found(observation(extension=[other, gene]), "tokens", "gene-identifier") == [
        Token("gene-identifier", None, "BRCA1"),
        Token("gene-identifier", None, None, "x"),
    ]
    said = {"url": url, "valueBoolean": True}
    assert found(observation(extension=[said]), "tokens", "gene-identifier") == [
        Token("gene-identifier", None, "true")
    ]
    url = "http://hl7.org/fhir/StructureDefinition/observation-geneticsDnaVariant"
    variant = {"url": url, "valueCodeableConcept": {"coding": [{"display": "c.1A>G"}]}}
    assert found(observation(extension=[variant]), "strings", "dna-variant") == [
        String("dna-variant", "c.1A>G")
    ]


def test_subjects_of_marked_answers_are_found():
    url = "http://hl7.org/fhir/StructureDefinition/questionnaireresponse-isSubject"
    answer = [{"valueReference": {"reference": "Patient/1"}}]
    response = {
        "resourceType": "QuestionnaireResponse",
        "item": [
            {"linkId": "1", "answer": answer, "extension": [{"url": url, "valueBoolean": True}]},
            {"linkId": "2", "answer": [{"valueReference": {"reference": "Patient/2"}}]},
        ],
    }
    assert found(response, "references", "item-subject") == [
        Reference("item-subject", "Patient", "1")
    ]


def test_canonicals_to_contained_resources_and_places_without_position_give_nothing():
    response = {"resourceType": "QuestionnaireResponse", "questionnaire": "#q"}
    assert extract(response).references == []
    assert extract({"resourceType": "Location", "position": {"latitude": 1}}).positions == []


def test_entries_without_id_give_no_reference():
    document = {"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Composition"}}]}
    assert extract(document).references == []


def test_preloading_compiles_every_type():
    preload()
    assert extractor.cache_info().currsize >= len(resource_types())
