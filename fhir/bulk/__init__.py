"""Bulk data: export and import as newline-delimited JSON. https://hl7.org/fhir/uv/bulkdata/"""
