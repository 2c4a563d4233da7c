"""Operations: one file for each `$operation`. https://hl7.org/fhir/R4/operations.html

A file here that has an `OPERATION` (or `OPERATIONS`) is found by `fhir.operations.registry`, which
routes, scopes, limits and declares it; `operation.py` says what an operation is made of.
"""
