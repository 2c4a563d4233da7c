"""The Django app of the clinical store."""

from django.apps import AppConfig


class FhirConfig(AppConfig):
    """FHIR R4 resources of a tenant."""

    name = "fhir"
    verbose_name = "FHIR R4"

    def ready(self) -> None:
        """Tell usage how many resources there are."""
        from fhir.usage import count_resources
        from healthcloud.organizations.usage import register_resource_counter

        register_resource_counter(count_resources)
