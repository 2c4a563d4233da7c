"""Values too large for a step's row: kept once a run, and referred to.

A list that goes from step to step is one row, however many steps hold it. In a step's row stands
`{"$stored": "val_…", "bytes": n}` instead.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any, Final

import orjson

from workflows.models import Run, StoredValue

INLINE_BYTES: Final = 262_144
_MEMBERS: Final = {"$stored", "bytes"}


def encoded(value: object) -> bytes:
    """Return a value as JSON."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_SORT_KEYS)
    except (TypeError, orjson.JSONEncodeError):  # such as integers over 64 bits
        return json.dumps(value, default=str, sort_keys=True).encode()


def reference_of(value: object) -> str | None:
    """Return the id of the stored value that stands here, None for any other value."""
    if isinstance(value, dict) and set(value) == _MEMBERS:
        return str(value["$stored"])
    return None


def keep(run: Run, value: object, *, sensitive: bool) -> Any:  # noqa: ANN401  # JSON
    """Return the value, or where it is large what refers to it; inside the step's transaction."""
    if value is None:
        return None
    content = encoded(value)
    if len(content) <= INLINE_BYTES:
        return value
    stored, _ = StoredValue.objects.get_or_create(
        run=run,
        digest=hashlib.sha256(content).hexdigest(),
        defaults={
            "project_id": run.project_id,
            "size": len(content),
            "content": value,
            "sensitive": sensitive,
        },
    )
    return {"$stored": stored.id, "bytes": stored.size}


def load(references: Iterable[str]) -> dict[str, Any]:
    """Return stored values by id."""
    rows = StoredValue.objects.filter(id__in=set(references))
    return dict(rows.values_list("id", "content"))
