"""List/$find: the functional list of a patient, such as the current problems.

https://hl7.org/fhir/R4/list-operation-find.html. Nobody keeps such a List: it is made of what the
searches with `_list=$current-problems` find.
"""

from typing import Final

from fhir import store
from fhir.documents import JsonObject, instant, new_id
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.search import search
from fhir.search.functional_lists import LISTS

_MOST: Final = 1000


def find(call: Call) -> JsonObject:
    """Answer the List of what is current, at most 1,000 entries of each type."""
    rid = call.parameters.required("patient").removeprefix("Patient/")
    name = call.parameters.required("name").removeprefix("$")
    types = LISTS.get(f"${name}")
    if types is None:
        known = ", ".join(listed.removeprefix("$") for listed in LISTS)
        raise InvalidParameter(f"`name` is one of {known}.", param="name")
    call.require("Patient:read", *(f"{kind}:read" for kind in sorted(types)))
    store.read(resource_type="Patient", id=rid)
    entries: list[JsonObject] = []
    for kind in sorted(types):
        asked = [("patient", f"Patient/{rid}"), ("_list", f"${name}")]
        found = search(resource_type=kind, query=[*asked, ("_count", str(_MOST))], now=call.now)
        entries += [{"item": {"reference": entry.reference}} for entry in found.entries]
    listed: JsonObject = {
        "resourceType": "List",
        "id": new_id(),
        "status": "current",
        "mode": "snapshot",
        "title": name.replace("-", " "),
        "subject": {"reference": f"Patient/{rid}"},
        "date": instant(call.now),
    }
    return {**listed, "entry": entries} if entries else listed


OPERATION = Operation(
    name="find",
    run=find,
    levels=frozenset({"type"}),
    types=frozenset({"List"}),
    summary="Find a patient's list of what is current.",
    inputs=frozenset({"patient", "name"}),
    scope="List:read",
    definition=f"{HL7}List-find",
)
