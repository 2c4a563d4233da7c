"""What package code is given when it runs: FHIR reads, HTTP, tokens, slots, secrets, rules, log."""
