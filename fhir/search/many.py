"""Which searches match many resources, as this process saw: they are planned for their values.

A choice of plans, never of results; what is forgotten or new costs a few milliseconds once.
"""

import time
from typing import Final

from fhir.search.clause import Clause
from healthcloud.tenancy.scope import active_scope

SECONDS: Final = 600.0
_REMEMBERED: Final = 10_000
_many: dict[int, float] = {}


def is_many(matches: Clause) -> bool:
    """Tell whether a condition was seen to match many rows of the active tenant, lately."""
    seen = _many.get(_key(matches))
    return seen is not None and time.monotonic() - seen < SECONDS


def remember_many(matches: Clause) -> None:
    """Remember that a condition matches many rows of the active tenant."""
    if len(_many) >= _REMEMBERED:
        _many.clear()
    _many[_key(matches)] = time.monotonic()


def _key(matches: Clause) -> int:
    return hash((active_scope().schema, matches.sql, repr(matches.params)))
