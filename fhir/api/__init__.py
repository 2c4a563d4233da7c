"""The FHIR R4 REST API under /v1/fhir. https://hl7.org/fhir/R4/http.html"""
