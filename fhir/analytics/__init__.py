"""Tables from resources: SQL on FHIR v2 view definitions. https://sql-on-fhir.org/ig/. Pure."""
