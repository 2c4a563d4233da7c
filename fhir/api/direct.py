"""The interactions that are answered without Django's middleware: reads, search and create.

Each runs one group of statements, or several that only read, so that each group can be a
transaction of its own.
"""

import re
from typing import Final

from fhir.api.views.instance import InstanceHistoryView, InstanceView, VersionView
from fhir.api.views.type import TypeView
from healthcloud.organizations.direct import DirectRoute

# Addresses that have views of their own go the whole way: the trail, and the topics.
TYPE: Final = (
    r"/v1/fhir/(?P<resource_type>(?!(?:AuditEvent|SubscriptionTopic)(?:/|$))[A-Z][A-Za-z]+)"
)
# Creating one of these has no consequence beyond its row: no subscription begins, nothing is
# loaded or indexed by it.
_CREATED: Final = (
    *("AllergyIntolerance", "CarePlan", "CareTeam", "Claim", "ClaimResponse", "Communication"),
    *("Condition", "Coverage", "Device", "DiagnosticReport", "DocumentReference", "Encounter"),
    *("EpisodeOfCare", "ExplanationOfBenefit", "FamilyMemberHistory", "Flag", "Goal"),
    *("ImagingStudy", "Immunization", "Location", "Media", "Medication"),
    *("MedicationAdministration", "MedicationDispense", "MedicationRequest"),
    *("MedicationStatement", "NutritionOrder", "Observation", "Organization", "Patient"),
    *("Practitioner", "PractitionerRole", "Procedure", "QuestionnaireResponse", "RelatedPerson"),
    *("RiskAssessment", "ServiceRequest", "Specimen", "SupplyDelivery"),
)
NEW: Final = rf"/v1/fhir/(?P<resource_type>{'|'.join(_CREATED)})"
CHANGED: Final = rf"{NEW}/(?P<id>[A-Za-z0-9\-.][A-Za-z0-9\-._]{{0,63}})"
ID: Final = r"(?P<id>[A-Za-z0-9\-.][A-Za-z0-9\-._]{0,63})"

ROUTES: Final = (
    DirectRoute(frozenset({"GET"}), re.compile(f"{TYPE}/{ID}"), InstanceView),
    DirectRoute(frozenset({"GET"}), re.compile(f"{TYPE}/{ID}/_history"), InstanceHistoryView),
    DirectRoute(
        frozenset({"GET"}), re.compile(rf"{TYPE}/{ID}/_history/(?P<version>[^/]+)"), VersionView
    ),
    DirectRoute(frozenset({"GET"}), re.compile(TYPE), TypeView),
    DirectRoute(frozenset({"POST"}), re.compile(NEW), TypeView),
)
