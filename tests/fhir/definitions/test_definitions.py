"""The loaded definitions say what R4 says."""

import subprocess
import sys

import pytest

from fhir import definitions


def test_r4_has_146_concrete_resource_types():
    types = definitions.resource_types()
    assert len(types) == 146
    assert types[0] == "Account"
    assert types[-1] == "VisionPrescription"
    assert "DomainResource" not in types


def test_type_numbers_are_small_stable_and_reversible():
    numbers = {name: definitions.type_number(name) for name in definitions.resource_types()}
    assert sorted(numbers.values()) == list(range(1, 147))
    assert numbers["Account"] == 1
    assert numbers["Observation"] == 96
    assert numbers["Patient"] == 103
    assert all(definitions.type_name(number) == name for name, number in numbers.items())


def test_an_unknown_type_is_refused_by_name():
    with pytest.raises(definitions.UnknownResourceTypeError, match="Pazient is not a FHIR R4"):
        definitions.type_number("Pazient")
    with pytest.raises(definitions.UnknownResourceTypeError, match="the number 999"):
        definitions.type_name(999)


def test_elements_carry_cardinality_types_and_bindings():
    status = definitions.element("Observation", "status")
    assert (status.minimum, status.maximum, status.types) == (1, 1, ("code",))
    assert status.binding == "http://hl7.org/fhir/ValueSet/observation-status"
    assert status.binding_strength == "required"
    assert status.in_summary
    value = definitions.element("Observation", "value[x]")
    assert value.is_choice
    assert value.json_names()[0] == ("valueQuantity", "Quantity")
    repeated = definitions.element("Observation", "component.referenceRange")
    assert repeated.content_of == "referenceRange"
    assert repeated.repeats


def test_references_carry_their_targets():
    subject = definitions.element("Observation", "subject")
    assert subject.targets == ("Device", "Group", "Location", "Patient")
    assert definitions.element("Observation", "focus").targets == ()


def test_the_id_of_a_resource_is_an_id_and_that_of_a_datatype_a_string():
    assert definitions.element("Patient", "id").types == ("id",)
    assert definitions.element("Period", "id").types == ("string",)


def test_search_parameters_include_those_of_every_resource():
    parameters = definitions.search_parameters("Observation")
    assert parameters["_tag"].base == "Resource"
    assert parameters["_text"].base == "DomainResource"
    assert parameters["code"].expression == "Observation.code"
    assert parameters["subject"].targets == ("Device", "Group", "Location", "Patient")
    assert "_text" not in definitions.search_parameters("Bundle")


def test_a_shared_parameter_keeps_only_the_path_of_its_type():
    assert definitions.search_parameter("Patient", "email").expression == (
        "Patient.telecom.where(system='email')"
    )


def test_composites_name_their_components():
    found = definitions.search_parameter("Observation", "code-value-quantity")
    assert [part.expression for part in found.components] == ["code", "value.as(Quantity)"]
    assert definitions.parameter_by_url(found.components[1].definition).code == "value-quantity"


def test_the_exchanged_components_of_document_relationships_are_put_right():
    found = definitions.search_parameter("DocumentReference", "relationship")
    kinds = [definitions.parameter_by_url(part.definition).type for part in found.components]
    assert kinds == ["token", "reference"]


def test_parameters_that_can_find_nothing_are_left_out():
    assert not {"age", "birthOrderBoolean", "part-agree"} & set(
        definitions.search_parameters("Patient")
    )


def test_reference_parameters_answer_who_may_point_to_a_type():
    found = definitions.reference_parameters("Patient")
    assert ("Observation", "subject") in found
    assert ("Observation", "encounter") not in found


def test_compartments_name_the_parameters_of_each_type():
    assert definitions.compartments() == (
        *("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson"),
    )
    patient = definitions.compartment_parameters("Patient")
    assert patient["Observation"] == ("subject", "performer")
    assert definitions.in_compartment("Patient", "Condition")
    assert not definitions.in_compartment("Patient", "Medication")


def test_required_value_sets_are_expanded_with_displays():
    genders = definitions.value_set("http://hl7.org/fhir/ValueSet/administrative-gender")
    system = "http://hl7.org/fhir/administrative-gender"
    assert genders == {
        system: {"male": "Male", "female": "Female", "other": "Other", "unknown": "Unknown"}
    }
    url = "http://hl7.org/fhir/ValueSet/administrative-gender|4.0.1"
    assert definitions.implicit_system(url) == system
    assert definitions.value_set("http://hl7.org/fhir/ValueSet/mimetypes") is None


@pytest.mark.parametrize("module", ["fhir.definitions", "fhir.validation"])
def test_the_pure_modules_import_no_django(module):
    program = f"import sys, {module}; print('django' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_what_a_request_needs_loads_in_a_tenth_of_a_second():
    program = (
        "import time; start = time.process_time()\n"
        "from fhir.definitions import search_parameters, structure, type_number\n"
        "search_parameters('Observation'), structure('Observation'), type_number('Observation')\n"
        "print(time.process_time() - start)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert float(answer.stdout) < 0.5  # 0.06 s when idle; room for a busy machine
