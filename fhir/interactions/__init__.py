"""One file per interaction, https://hl7.org/fhir/R4/http.html."""
