"""What each resource states: which concept, of which element, when. The index findings read."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assets.rules import values
from assets.rules.inputs import Input
from assets.rules.times import Moment, clinical_moment
from assets.sdk import StoredResource

CONCEPTS: Mapping[str, tuple[str, ...]] = {
    "Condition": ("code",),
    "Procedure": ("code",),
    "Encounter": ("reasonCode", "type"),
    "ServiceRequest": ("code", "reasonCode"),
    "Device": ("type",),
    "DeviceUseStatement": ("reasonCode",),
    "Specimen": ("type", "collection.method"),
}
VOID = frozenset({"entered-in-error", "cancelled", "revoked", "not-done", "registered"})
FAMILY_HISTORY = frozenset({"10157-6", "8670-2", "416471007"})

Role = Literal["code", "value"]


@dataclass(frozen=True, slots=True)
class Statement:
    """A concept that a resource states; `element` is the Observation or component with the value.

    `role` is `code` where the concept is what was looked for, `value` where it is the answer.
    """

    stored: StoredResource
    element: Mapping[str, Any]
    role: Role
    at: Moment

    @property
    def order(self) -> tuple[Moment, str, str]:
        """Newest last; ties are broken by id, so that the same data gives the same result."""
        return (self.at, self.stored.reference, str(self.element.get("id", "")))


class StatementIndex:
    """Statements by code and by text."""

    def __init__(self, resources: Iterable[StoredResource]) -> None:
        self.by_code: dict[tuple[str, str], list[Statement]] = defaultdict(list)
        self.by_text: dict[str, list[Statement]] = defaultdict(list)
        for stored in resources:
            for concept, statement in _statements(stored):
                for code in values.codes(concept):
                    self.by_code[code].append(statement)
                for text in values.texts(concept):
                    self.by_text[values.plain_text(text)].append(statement)

    def matching(self, definition: Input) -> list[Statement]:
        """Return the statements of an input, newest first; a resource matched twice counts once."""
        found: dict[tuple[str, int, Role], Statement] = {}
        for statement in self._candidates(definition):
            if statement.stored.resource_type in definition.resources:
                key = (statement.stored.reference, id(statement.element), statement.role)
                found.setdefault(key, statement)
        return sorted(found.values(), key=lambda item: item.order, reverse=True)

    def stating(self, codes: Iterable[tuple[str, str]]) -> list[Statement]:
        """Return the statements of any of these codes; a coding without system counts too."""
        return [
            statement
            for system, code in codes
            for written in (system, "")
            for statement in self.by_code.get((written, code), ())
        ]

    def _candidates(self, definition: Input) -> Iterator[Statement]:
        yield from self.stating(sorted(definition.codes))
        for text in sorted(definition.texts):
            yield from self.by_text.get(text, ())
        for system, prefix in definition.prefixes:
            for known_system, code in sorted(self.by_code):
                if known_system == system and code.startswith(prefix):
                    yield from self.by_code[(known_system, code)]


def _statements(stored: StoredResource) -> Iterator[tuple[object, Statement]]:
    resource = stored.resource
    at = clinical_moment(resource)
    if at is None or resource.get("status") in VOID:
        return
    if stored.resource_type == "Observation":
        yield from _observation(stored, at)
        return
    for path in CONCEPTS.get(stored.resource_type, ()):
        for concept in _at(resource, path):
            yield concept, Statement(stored, resource, "code", at)


def _observation(stored: StoredResource, at: Moment) -> Iterator[tuple[object, Statement]]:
    resource = stored.resource
    if any(code in FAMILY_HISTORY for _, code in values.codes(resource.get("code"))):
        return
    for element in (resource, *(resource.get("component") or [])):
        yield element.get("code"), Statement(stored, element, "code", at)
        answer = element.get("valueCodeableConcept") or {"text": element.get("valueString")}
        yield answer, Statement(stored, element, "value", at)


def _at(resource: Mapping[str, Any], path: str) -> Sequence[object]:
    value: object = resource
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, list):
        return value
    return [] if value is None else [value]
