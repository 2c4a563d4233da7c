"""Whose data is meant: all patients, some, or the members of a group."""

from collections.abc import Sequence
from typing import Final

from fhir import hashes, store
from fhir.definitions import compartment_parameters, reference_parameters
from fhir.operations.parameters import InvalidParameter
from fhir.search.clause import Clause, any_of, array, has_any_token

SUPPORTING: Final = frozenset(
    {
        *("HealthcareService", "Location", "Medication", "Organization", "Practitioner"),
        *("PractitionerRole", "Substance"),
    }
)
"""Types of no patient that come along where something of a patient refers to them."""


def of_patients(name: str, patients: Sequence[str] | None) -> Clause:
    """Return the condition that a row of a type is in the compartment of a patient, or of these."""
    codes = compartment_parameters("Patient").get(name, ())
    if patients is None:
        if name == "Patient":
            return Clause("true")
        present = [hashes.PRESENT ^ hashes.param_salt(name, code) for code in codes]
        subjects = {"patient", "subject"} & set(codes)
        return Clause("r.patient IS NOT NULL") if subjects else has_any_token("r", present)
    keys = [hashes.self_hash("Patient", rid) for rid in patients]
    refers = has_any_token(
        "r", [key ^ hashes.param_salt(name, code) for code in codes for key in keys]
    )
    if name != "Patient":
        return refers
    return any_of([Clause("r.rid = ANY(%b::text[])", (list(patients),)), refers])


def referred_to(name: str, patients: Sequence[str] | None) -> Clause:
    """Return the condition that something of a patient, or of these, refers to a row of a type."""
    salts = array(hashes.param_salt(*parameter) for parameter in reference_parameters(name))
    whose = Clause("x.patient IS NOT NULL")
    if patients is not None:
        keys = array(hashes.self_hash("Patient", rid) for rid in patients)
        whose = Clause("x.patient = ANY(%s::bigint[])", (keys,))
    return Clause(
        "EXISTS (SELECT 1 FROM fhir_resource x WHERE x.project = r.project"
        f" AND x.content IS NOT NULL AND {whose.sql}"
        " AND x.tokens && ARRAY(SELECT r.self # s.salt FROM unnest(%s::bigint[]) AS s(salt)))",
        (*whose.params, salts),
    )


def members_of(group_id: str) -> list[str]:
    """Return the ids of the patients who are in a group; raise ResourceNotFound."""
    group = store.read(resource_type="Group", id=group_id).resource
    return [
        patient_id(entry["entity"]["reference"], "Group.member")
        for entry in group.get("member", ())
        if not entry.get("inactive")
        and str(entry.get("entity", {}).get("reference", "")).rpartition("/")[0].endswith("Patient")
    ]


def patient_id(reference: object, name: str) -> str:
    """Return the id of `Patient/id`; raise InvalidParameter for another reference."""
    head, _, rid = str(reference).rpartition("/")
    if not rid or not (head == "Patient" or head.endswith("/Patient")):
        raise InvalidParameter(f"`{name}` refers to a Patient, as in `Patient/123`.", param=name)
    return rid
