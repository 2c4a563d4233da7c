"""A small code system with a hierarchy, and value sets on it."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from fhir import store
from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope

COLORS = "http://example.org/colors"
Keep = Callable[[dict[str, Any]], dict[str, Any]]


def color_system(**more: Any) -> dict[str, Any]:
    return {
        "resourceType": "CodeSystem",
        "url": COLORS,
        "version": "1.0",
        "name": "Colors",
        "status": "active",
        "content": "complete",
        "caseSensitive": True,
        "hierarchyMeaning": "is-a",
        "property": [
            {"code": "warmth", "type": "string"},
            {"code": "inactive", "type": "boolean"},
            {"code": "notSelectable", "type": "boolean"},
        ],
        "concept": [
            {
                "code": "color",
                "display": "Color",
                "property": [{"code": "notSelectable", "valueBoolean": True}],
                "concept": [
                    {
                        "code": "red",
                        "display": "Red",
                        "definition": "As blood.",
                        "designation": [{"language": "de", "value": "Rot"}],
                        "property": [{"code": "warmth", "valueString": "warm"}],
                        "concept": [
                            {"code": "crimson", "display": "Crimson red"},
                            {
                                "code": "old-rose",
                                "display": "Old rose",
                                "property": [{"code": "inactive", "valueBoolean": True}],
                            },
                        ],
                    },
                    {
                        "code": "blue",
                        "display": "Blue",
                        "property": [{"code": "warmth", "valueString": "cold"}],
                    },
                ],
            }
        ],
        **more,
    }


def value_set(name: str, *include: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ValueSet",
        "url": f"http://example.org/{name}",
        "status": "active",
        "compose": {"include": list(include), **more},
    }


def rule(name: str, op: str, value: str) -> dict[str, str]:
    return {"property": name, "op": op, "value": value}


@pytest.fixture
def keep(in_riverside: Scope, alice_actor: Actor, now: datetime) -> Keep:
    """Store a resource in Alice's project."""

    def make(resource: dict[str, Any]) -> dict[str, Any]:
        written = store.create(
            resource=resource,
            resource_type=resource["resourceType"],
            actor=alice_actor,
            now=now,
        )
        return written.resource

    return make


@pytest.fixture
def colors(keep: Keep) -> dict[str, Any]:
    """The code system of colors, stored."""
    return keep(color_system())
