"""The promoted patient answers for `patient` and `subject` only where they name one at most."""

import re

from fhir.definitions import element, resource_types, search_parameter
from fhir.indexing import MANY_PATIENTS, primary_date


def test_types_with_several_patients_are_known() -> None:
    several = set()
    for kind in resource_types():
        for code in ("patient", "subject"):
            parameter = search_parameter(kind, code)
            for path in (parameter.expression or "").split("|") if parameter else ():
                found = re.match(rf"\s*\(?{kind}\.(\w+)", path)
                known = element(kind, found[1]) if found else None
                if known is None or known.repeats:
                    several.add(kind)
    assert several <= MANY_PATIENTS


def test_common_types_have_a_primary_date() -> None:
    assert primary_date("Observation") == "date"
    assert primary_date("MedicationRequest") == "authoredon"
    assert primary_date("Condition") == "onset-date"
    assert primary_date("Patient") == "birthdate"
    assert primary_date("Organization") == ""
