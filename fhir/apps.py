"""The Django app of the clinical store."""

from django.apps import AppConfig


class FhirConfig(AppConfig):
    """FHIR R4 resources of a tenant."""

    name = "fhir"
    verbose_name = "FHIR R4"

    def ready(self) -> None:
        """Tell usage how many resources there are, and the audit chain what was read."""
        from fhir.access_seals import broken_seals, seal
        from fhir.usage import count_resources
        from healthcloud.audit.chain import SideTrail, register_side_trail
        from healthcloud.organizations.usage import register_resource_counter

        register_resource_counter(count_resources)
        register_side_trail("fhir_access", SideTrail(seal, broken_seals))
