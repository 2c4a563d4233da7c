"""The only door to clinical data. https://hl7.org/fhir/R4/http.html

Every function runs inside a `tenant_scope` that names a project; writes are part of the caller's
transaction. Resources go in as a dict, JSON text or bytes, and come out as StoredResource, whose
`content` is what was sent with `id` and `meta` set.
"""

from fhir.errors import (
    InvalidBundle,
    InvalidResource,
    MultipleMatches,
    ResourceGone,
    ResourceMismatch,
    ResourceNotFound,
    UnknownResourceType,
    VersionConflict,
    VersionMismatch,
)
from fhir.interactions.create import create
from fhir.interactions.delete import delete, delete_where
from fhir.interactions.history import HistoryEntry, HistoryPage, history
from fhir.interactions.patch import patch
from fhir.interactions.read import read, vread
from fhir.interactions.transaction import transact as transaction
from fhir.interactions.update import update, update_where
from fhir.interactions.write_many import write_many
from fhir.stored import StoredResource

__all__ = [
    "HistoryEntry",
    "HistoryPage",
    "InvalidBundle",
    "InvalidResource",
    "MultipleMatches",
    "ResourceGone",
    "ResourceMismatch",
    "ResourceNotFound",
    "StoredResource",
    "UnknownResourceType",
    "VersionConflict",
    "VersionMismatch",
    "create",
    "delete",
    "delete_where",
    "history",
    "patch",
    "read",
    "transaction",
    "update",
    "update_where",
    "vread",
    "write_many",
]
