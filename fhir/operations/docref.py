"""DocumentReference/$docref: a patient's documents.

http://hl7.org/fhir/us/core/OperationDefinition/docref. Nothing is made on demand: what is found
are the DocumentReferences that are stored.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from fhir import store
from fhir.bundles import searchset
from fhir.errors import NotSupported
from fhir.operations.operation import Call, Operation
from fhir.operations.parameters import Given, InvalidParameter
from fhir.search import search

_SUMMARY: Final = "http://loinc.org|34133-9"
"""A summary of care (CCD), the document that is meant where no type is named."""
_MOST: Final = "1000"


def docref(call: Call) -> bytes:
    """Answer the documents of some types whose care falls into a period.

    Without `start` and `end` it is the latest document alone, without `type` a summary of care.
    """
    given = call.parameters
    if given.truth("on-demand"):
        raise NotSupported("This server makes no documents on demand: leave `on-demand` out.")
    rid = given.required("patient").removeprefix("Patient/")
    store.read(resource_type="Patient", id=rid)
    types = [token for value in given.all("type") for token in _tokens(value)]
    pairs = [("patient", f"Patient/{rid}"), ("type", ",".join(types) or _SUMMARY)]
    dates = {prefix: given.text(name) for prefix, name in (("ge", "start"), ("le", "end"))}
    pairs += [("period", prefix + date) for prefix, date in dates.items() if date]
    is_latest = not any(dates.values())
    pairs += [("_sort", "-date"), ("_count", "1" if is_latest else _MOST)]
    found = search(resource_type="DocumentReference", query=pairs, now=call.now, strict=True)
    whole = replace(
        found,
        next_query=None,
        first_query=None,
        self_query=call.query,
        total=len(found.entries),
    )
    return searchset(whole, now=call.now, base=call.base, address=call.address)


def _tokens(given: Given) -> Iterator[str]:
    """Yield a type as tokens: those of its codings, or the text of a query."""
    if isinstance(given.value, str):
        yield given.value
        return
    codings = given.value.get("coding") if isinstance(given.value, dict) else None
    if not codings:
        raise InvalidParameter("`type` is a CodeableConcept with a coding.", param="type")
    for coding in codings:
        yield f"{coding.get('system', '')}|{coding.get('code', '')}".removeprefix("|")


OPERATION = Operation(
    name="docref",
    run=docref,
    levels=frozenset({"type"}),
    types=frozenset({"DocumentReference"}),
    summary="Find a patient's documents.",
    inputs=frozenset({"patient", "start", "end", "type", "on-demand"}),
    scope="DocumentReference:read",
    definition="http://hl7.org/fhir/us/core/OperationDefinition/docref",
)
