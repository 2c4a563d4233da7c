"""Views of /v1/fhir, by what an address names: the system, a type, an instance."""
