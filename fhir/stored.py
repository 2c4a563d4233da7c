"""What the store hands out: a version of a resource as stored bytes, parsed only when asked."""

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import orjson

from fhir.documents import JsonObject


@dataclass(unsafe_hash=True)  # never changed; a frozen one takes five times as long to make
class StoredResource:
    """One version of a resource.

    `content` is the JSON text to answer with. `created` says that this write made the resource,
    `is_new` that it made the version; `key` is the hash by which references find it (0 where it
    was not asked for).
    """

    resource_type: str
    id: str
    version: int
    updated_at: datetime
    content: bytes
    created: bool = False
    is_new: bool = False
    key: int = field(default=0, compare=False, repr=False)

    @cached_property
    def resource(self) -> JsonObject:
        """Return the parsed resource."""
        parsed: JsonObject = orjson.loads(self.content)
        return parsed

    @property
    def reference(self) -> str:
        """Return `Type/id`."""
        return f"{self.resource_type}/{self.id}"

    @property
    def versioned_reference(self) -> str:
        """Return `Type/id/_history/version`."""
        return f"{self.resource_type}/{self.id}/_history/{self.version}"

    @property
    def etag(self) -> str:
        """Return the weak entity tag that FHIR wants: `W/"version"`."""
        return f'W/"{self.version}"'
