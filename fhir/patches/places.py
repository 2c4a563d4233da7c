"""Elements of a document with the place where each stands, so that it can be changed there.

https://hl7.org/fhir/R4/json.html: a primitive is a value and, under its name with `_`, its id and
extensions; here both are one element.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from fhir.definitions.fields import ANY_RESOURCE, Field, fields
from fhir.documents import JsonObject
from fhir.patches.values import Json

Pair = tuple[Json, Json]


@dataclass(slots=True, eq=False)
class Place:
    """An element: `owner[name]`, or an item of it; the resource itself has no owner."""

    value: Json
    extras: Json = None
    owner: "Place | None" = None
    name: str = ""
    index: int | None = None
    field: Field | None = None

    @property
    def members(self) -> JsonObject:
        """Return the object that holds the children; empty for a bare primitive."""
        if isinstance(self.value, dict):
            return self.value
        return self.extras if isinstance(self.extras, dict) else {}

    @property
    def shape(self) -> tuple[str, str]:
        """Return the type (and the path in it) that says what the children may be."""
        if self.field is None or self.field.kind == ANY_RESOURCE:
            return str(self.members.get("resourceType", "")), ""
        return ("Element", "") if self.field.is_primitive else self.field.below

    @property
    def type_name(self) -> str:
        """Return the name of the element's type."""
        if self.field is None or self.field.kind == ANY_RESOURCE:
            return self.shape[0]
        return self.field.kind

    def children(self, element: str) -> Iterator["Place"]:
        """Yield the elements of a name; `value` finds `valueQuantity` too."""
        members = self.members
        for name, field in fields(*self.shape).items():
            if field.element == element and (name in members or f"_{name}" in members):
                is_many = isinstance(members.get(name, members.get(f"_{name}")), list)
                for index, (value, extras) in enumerate(read_pairs(members, name)):
                    position = index if is_many else None
                    yield Place(value, extras, self, name, position, field)

    def field_named(self, name: str, suffix: str = "") -> tuple[str, Field] | None:
        """Return the JSON name and field of an element, `suffix` the type of a choice."""
        known = fields(*self.shape)
        plain = name.removesuffix("[x]")
        for candidate in (plain, plain + suffix):
            if candidate in known:
                return candidate, known[candidate]
        return None

    def put(self, name: str, pairs: list[Pair], *, repeats: bool) -> None:
        """Set an element to what the pairs hold, or take it away without any."""
        if not isinstance(self.value, dict) and not isinstance(self.extras, dict):
            self._begin_extras()
        write_pairs(self.members, name, pairs, repeats=repeats)
        self._drop_if_empty()

    def _begin_extras(self) -> None:
        """Give a primitive the object that its id and extensions go into."""
        self.extras = {}
        assert self.owner is not None
        pairs = read_pairs(self.owner.members, self.name)
        pairs[self.index or 0] = (self.value, self.extras)
        write_pairs(self.owner.members, self.name, pairs, repeats=self.index is not None)

    def replace(self, value: Json, extras: Json) -> None:
        """Put another value in this place."""
        assert self.owner is not None
        pairs = read_pairs(self.owner.members, self.name)
        pairs[self.index or 0] = (value, extras)
        self.owner.put(self.name, pairs, repeats=self.index is not None)

    def delete(self) -> None:
        """Take the element out of its owner, and the owner too where nothing is left of it."""
        assert self.owner is not None
        pairs = read_pairs(self.owner.members, self.name)
        del pairs[self.index or 0]
        self.owner.put(self.name, pairs, repeats=self.index is not None)

    def _drop_if_empty(self) -> None:
        if self.owner is None or self.members:
            return
        if isinstance(self.value, dict) or self.value is None:
            self.delete()
        else:
            self.replace(self.value, None)


def read_pairs(members: JsonObject, name: str) -> list[Pair]:
    """Return value and extras of each item; a single element is a list of one."""
    values, extras = members.get(name), members.get(f"_{name}")
    if not isinstance(values, list) and not isinstance(extras, list):
        return [(values, extras)] if values is not None or extras is not None else []
    ones = values if isinstance(values, list) else []
    others = extras if isinstance(extras, list) else []
    length = max(len(ones), len(others))
    ones, others = ones + [None] * (length - len(ones)), others + [None] * (length - len(others))
    return list(zip(ones, others, strict=True))


def write_pairs(members: JsonObject, name: str, pairs: list[Pair], *, repeats: bool) -> None:
    """Set value and extras of an element under its two names."""
    for key, items in ((name, [one for one, _ in pairs]), (f"_{name}", [two for _, two in pairs])):
        if all(item is None for item in items):
            members.pop(key, None)
        else:
            members[key] = items if repeats else items[0]
