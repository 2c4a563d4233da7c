"""The clinical store: FHIR R4 (4.0.1), https://hl7.org/fhir/R4/."""
