"""How each type of search parameter becomes SQL, https://hl7.org/fhir/R4/search.html#ptypes."""
