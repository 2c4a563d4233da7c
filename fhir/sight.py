"""What a narrowed caller sees and may write: scopes of one patient, and granular ones.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html. The scopes become settings
of the transaction, which policies of the database read (`fhir.migrations.0009_sight`): whatever
route is taken to a row, a chain, an include or a Bundle, the row is there or it is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import orjson

from fhir import hashes
from fhir.definitions import (
    compartment_parameters,
    is_resource_type,
    resource_types,
    type_number,
)
from fhir.search.clause import array
from fhir.search.context import salts
from fhir.search.params.token import token_form
from fhir.search.parser import parse
from fhir.search.request import Criterion, ParameterCriterion
from healthcloud.api.principal import Principal
from healthcloud.api.scopes import EVERY_TYPE, PATIENT, ClinicalScope, parse_scope
from healthcloud.errors import HealthCloudError, ValidationFailed

Settings = tuple[tuple[str, str], ...]

# Types about patients that R4's compartment leaves out, by their parameter `patient`.
_ADDED: Final = dict.fromkeys(("Contract", "Device", "GuidanceResponse", "Task"), ("patient",))
# What says nothing of a patient, and what records of all patients refer to.
CATALOG: Final = frozenset(
    {
        *("ActivityDefinition", "CatalogEntry", "ChargeItemDefinition", "DeviceDefinition"),
        *("Endpoint", "EventDefinition", "HealthcareService", "InsurancePlan", "Library"),
        *("Location", "Measure", "Medication", "MedicationKnowledge", "ObservationDefinition"),
        *("Organization", "OrganizationAffiliation", "PlanDefinition", "Practitioner"),
        *("PractitionerRole", "Questionnaire", "ResearchStudy", "Slot", "SpecimenDefinition"),
        "Substance",
    }
)
# What the server itself reads while it validates, searches and expands.
CONFORMANCE: Final = frozenset(
    {
        *("CapabilityStatement", "CodeSystem", "CompartmentDefinition", "ConceptMap"),
        *("ImplementationGuide", "NamingSystem", "OperationDefinition", "SearchParameter"),
        *("StructureDefinition", "StructureMap", "TerminologyCapabilities", "ValueSet"),
    }
)


# Of the compartment, but about others as well: a Group names its members to each other.
_OF_MANY: Final = frozenset({"Group"})
_EVERYTHING: Final = frozenset({"fhir:read", "fhir:write"})


class ScopeTooNarrow(ValidationFailed):
    """A scope names what this server can't hold it to."""

    def __init__(self, message: str) -> None:
        super().__init__(message, param="scopes")


@dataclass(slots=True)
class _Sight:
    """What some verbs are granted on: whole types, a patient's part of types, granular groups."""

    patient: str | None
    types: set[int] = field(default_factory=set)
    inside: set[int] = field(default_factory=set)
    tokens: set[int] = field(default_factory=set)
    groups: list[dict[str, object]] = field(default_factory=list)

    def add(self, scope: ClinicalScope, name: str, *, writes: bool) -> None:
        """Add what a scope grants on one type."""
        number = type_number(name)
        if scope.level != PATIENT:
            self._add_part(scope, name, None)
        elif self.patient is not None and name in in_patients_record() and name not in _OF_MANY:
            self._add_part(scope, name, self.patient)
        elif name in CATALOG and not writes:
            self.types.add(number)

    def _add_part(self, scope: ClinicalScope, name: str, patient: str | None) -> None:
        number = type_number(name)
        inside = None if patient is None else tokens_inside(name, patient)
        if scope.query:
            self.groups.append(_group(name, scope.query, patient, inside))
        elif inside is None:
            self.types.add(number)
        else:
            self.inside.add(number)
            self.tokens |= inside

    def settings(self, prefix: str) -> Settings:
        """Return the settings that the policies read under a prefix."""
        patient = None if self.patient is None else hashes.self_hash("Patient", self.patient)
        return (
            (f"hc.{prefix}_types", array(sorted(self.types))),
            (f"hc.{prefix}_patient", "" if patient is None else str(patient)),
            (f"hc.{prefix}_inside", array(sorted(self.inside))),
            (f"hc.{prefix}_tokens", array(sorted(self.tokens))),
            (f"hc.{prefix}_groups", orjson.dumps(self.groups).decode() if self.groups else ""),
        )


def sight_of(principal: Principal, verbs: str, *, anyway: bool = False) -> Settings:
    """Return what narrows a caller for a request that may write by some of `cud`; often nothing.

    `anyway` returns the settings of a caller who is not narrowed, too: all types are within sight.
    """
    if principal.is_narrowed:
        return _settings(principal.scopes, principal.patient, verbs)
    return _settings(_EVERYTHING, None, verbs) if anyway else ()


@lru_cache(maxsize=1024)
def _settings(scopes: frozenset[str], patient: str | None, verbs: str) -> Settings:
    granted = [scope for text in sorted(scopes) for scope in _read(text)]
    see, write = _Sight(patient), _Sight(patient)
    for name in resource_types():
        of_type = [scope for scope in granted if scope.resource_type in {EVERY_TYPE, name}]
        reading = [scope for scope in of_type if set("rs") & set(scope.verbs)]
        writing = [scope for scope in of_type if set(verbs) & set(scope.verbs)]
        for scope in reading or writing:  # what is written is read back by the writing statement
            see.add(scope, name, writes=not reading)
        for scope in writing:
            write.add(scope, name, writes=True)
    see.types |= {type_number(name) for name in CONFORMANCE}
    named = "" if patient is None else f'"Patient/{patient}"'
    return (
        *see.settings("see"),
        *write.settings("write"),
        ("hc.see_named", named or "\x01"),
        ("hc.may_delete", "on" if "d" in verbs else ""),
    )


def _read(text: str) -> Iterable[ClinicalScope]:
    found = parse_scope(text)
    name, _, access = text.partition(":")
    if found is not None:
        yield found
    elif access in {"read", "write"} and (name == "fhir" or name[:1].isupper()):
        verbs = "rs" if access == "read" else "cud"
        yield ClinicalScope(EVERY_TYPE if name == "fhir" else name, verbs)


@lru_cache(maxsize=1)
def in_patients_record() -> dict[str, tuple[str, ...]]:
    """Return the types of a patient's record with the parameters that say whose they are."""
    found = {**compartment_parameters("Patient"), **_ADDED}
    return {"Patient": (), **{name: codes for name, codes in found.items() if name != "Patient"}}


def tokens_inside(name: str, patient: str) -> set[int]:
    """Return the tokens of which a resource of a type has one if it is in a patient's record."""
    key = hashes.self_hash("Patient", patient)
    return {key ^ hashes.param_salt(name, code) for code in in_patients_record()[name]}


def _group(
    name: str, query: str, patient: str | None, inside: set[int] | None
) -> dict[str, object]:
    return {
        "type": type_number(name),
        "patient": None if patient is None else hashes.self_hash("Patient", patient),
        "inside": None if inside is None else array(sorted(inside)),
        "criteria": _criteria(name, query),
    }


@lru_cache(maxsize=512)
def _criteria(name: str, query: str) -> list[list[int]]:
    """Return for each criterion of a query the tokens that meet it; raise ScopeTooNarrow."""
    try:
        request = parse(name, query, strict=True)
    except HealthCloudError as error:
        raise ScopeTooNarrow(f"`{name}` can't be narrowed by `{query}`: {error.message}") from error
    if not request.criteria or request.includes or request.revincludes or request.sort:
        raise ScopeTooNarrow(f"`{query}` names no criteria to narrow a scope by.")
    return [_tokens_of(criterion, query) for criterion in request.criteria]


def _tokens_of(criterion: Criterion, query: str) -> list[int]:
    parameter = getattr(criterion, "parameter", None)
    if (
        not isinstance(criterion, ParameterCriterion)
        or parameter is None
        or (parameter.type, criterion.modifier) != ("token", "")
        or parameter.code == "_id"
    ):
        raise ScopeTooNarrow(
            f"A scope is narrowed by token parameters such as `category=laboratory`, not by"
            f" `{query}`."
        )
    params = salts(criterion.resource_type, parameter.code)
    forms = [token_form(value, parameter.code) for value in criterion.values]
    return sorted({form ^ param for form in forms for param in params})


def check_scope(scope: ClinicalScope) -> None:
    """Raise ValidationFailed for a scope of a type or a query that this server does not know."""
    if scope.resource_type != EVERY_TYPE and not is_resource_type(scope.resource_type):
        raise ScopeTooNarrow(f"`{scope.resource_type}` is no resource type of R4.")
    if scope.query:
        _criteria(scope.resource_type, scope.query)
