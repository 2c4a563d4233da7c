"""The Django app of the clinical store."""

from django.apps import AppConfig


class FhirConfig(AppConfig):
    """FHIR R4 resources of a tenant."""

    name = "fhir"
    verbose_name = "FHIR R4"
