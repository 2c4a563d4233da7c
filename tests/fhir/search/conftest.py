"""A helper for searches whose truth is written beside them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from fhir import store
from fhir.search import fixed_pages, many, search
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope

Resources = Sequence[Mapping[str, Any]]
Ask = Callable[[str, str], list[str]]
Clinic = Callable[[Resources], Ask]


@pytest.fixture
def clinic(in_riverside: Scope, alice_actor: Actor, now: datetime) -> Clinic:
    """Store resources and return a search that answers sorted ids."""

    def make(resources: Resources) -> Ask:
        store.write_many(resources=list(resources), actor=alice_actor, now=now)

        def ask(resource_type: str, query: str) -> list[str]:
            found = search(
                resource_type=resource_type, query=query.replace("+", "%2B"), now=now, strict=True
            )
            return sorted(entry.id for entry in found.entries)

        return ask

    return make


@pytest.fixture
def nothing_remembered() -> Iterator[None]:
    """Know nothing of how many a search matches, nor the statements of pages, before and after."""
    many._many.clear()
    fixed_pages._text.cache_clear()
    yield
    many._many.clear()
    fixed_pages._text.cache_clear()
