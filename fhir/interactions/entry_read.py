"""Reads and searches inside a batch or transaction. https://hl7.org/fhir/R4/http.html#transaction"""

from datetime import datetime

from fhir.bundles import searchset
from fhir.documents import instant
from fhir.errors import NotSupported
from fhir.interactions.bundle import Answer, Entry
from fhir.interactions.read import read, vread
from fhir.search.service import search
from fhir.stored import StoredResource


def answer_read(entry: Entry, *, now: datetime) -> Answer:
    """Return the answer to a read, vread or search."""
    names = entry.path.split("/")
    if len(names) == 1:
        result = search(resource_type=entry.resource_type, query=entry.query, now=now)
        return Answer("200 OK", searchset(result, now=now), is_read=True)
    if len(names) == 2:
        return _found(read(resource_type=names[0], id=names[1]))
    if len(names) == 4 and names[2] == "_history":
        return _found(vread(resource_type=names[0], id=names[1], version=names[3]))
    raise NotSupported(f"This server does not do `GET {entry.path}` in a Bundle yet.")


def _found(resource: StoredResource) -> Answer:
    return Answer(
        status="200 OK",
        content=resource.content,
        etag=resource.etag,
        last_modified=instant(resource.updated_at),
        is_read=True,
    )
