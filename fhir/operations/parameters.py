"""What goes into and comes out of operations. https://hl7.org/fhir/R4/parameters.html"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from fhir.documents import JsonObject
from fhir.instants import date_range
from healthcloud.errors import BadRequest

_TRUTH: Final = {"true": True, "false": False}


class InvalidParameter(BadRequest):
    """A parameter of an operation is missing, repeated, unknown or of the wrong type."""

    issue_code = "invalid"


@dataclass(frozen=True, slots=True)
class Given:
    """One value of a parameter: `kind` is its type in Parameters, or `query` for a text."""

    kind: str
    value: Any


class Parameters:
    """The parameters of one call, from the query, from a Parameters resource or from both."""

    def __init__(self, given: Iterable[tuple[str, Given]]) -> None:
        self._given: dict[str, list[Given]] = {}
        for name, value in given:
            self._given.setdefault(name, []).append(value)

    @classmethod
    def from_query(cls, pairs: Iterable[tuple[str, str]]) -> "Parameters":
        """Return the parameters of a query."""
        return cls((name, Given("query", value)) for name, value in pairs)

    @classmethod
    def from_resource(cls, body: JsonObject, also: Iterable[tuple[str, str]] = ()) -> "Parameters":
        """Return those of a Parameters resource, and of a query besides."""
        query = [(name, Given("query", value)) for name, value in also]
        return cls([*query, *_read_parts(body.get("parameter", ()))])

    def names(self) -> set[str]:
        """Return the names that were given."""
        return set(self._given)

    def __contains__(self, name: str) -> bool:
        return name in self._given

    def all(self, name: str) -> list[Given]:
        """Return all values of a parameter."""
        return self._given.get(name, [])

    def one(self, name: str) -> Given | None:
        """Return the one value of a parameter; raise InvalidParameter where it repeats."""
        values = self.all(name)
        if len(values) > 1:
            raise InvalidParameter(f"`{name}` may be given only once.", param=name)
        return values[0] if values else None

    def text(self, name: str) -> str | None:
        """Return a string, code, uri or id."""
        value = self.one(name)
        return None if value is None else _text(name, value)

    def texts(self, name: str, *, commas: bool = False) -> list[str]:
        """Return all strings of a parameter; with `commas` each may be a list."""
        found = [_text(name, value) for value in self.all(name)]
        if commas:
            found = [part.strip() for text in found for part in text.split(",")]
        return [text for text in found if text]

    def required(self, name: str) -> str:
        """Return a string that must be given."""
        value = self.text(name)
        if not value:
            raise InvalidParameter(f"The parameter `{name}` is required.", param=name)
        return value

    def truth(self, name: str, default: bool = False) -> bool:
        """Return a boolean."""
        value = self.one(name)
        if value is None:
            return default
        found = _TRUTH.get(value.value) if isinstance(value.value, str) else value.value
        if not isinstance(found, bool):
            raise InvalidParameter(f"`{name}` is true or false.", param=name)
        return found

    def integer(self, name: str, *, minimum: int = 0, maximum: int = 2**31 - 1) -> int | None:
        """Return a whole number within its bounds."""
        value = self.one(name)
        if value is None:
            return None
        text = str(value.value)
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 11 else -1
        if isinstance(value.value, bool) or not minimum <= number <= maximum:
            raise InvalidParameter(
                f"`{name}` is a whole number from {minimum} to {maximum}.", param=name
            )
        return number

    def moment(self, name: str) -> datetime | None:
        """Return the moment at which a date, dateTime or instant begins (UTC unless said)."""
        found = self.range(name)
        return None if found is None else found[0]

    def range(self, name: str) -> tuple[datetime, datetime] | None:
        """Return the time that a date, dateTime or instant stands for, its end exclusive."""
        text = self.text(name)
        if text is None:
            return None
        try:
            return date_range(text.replace(" ", "+"))
        except ValueError:
            raise InvalidParameter(
                f"`{name}` is a date or a moment such as 2026-11-22T10:00:00Z.", param=name
            ) from None

    def resource(self, name: str) -> JsonObject | None:
        """Return a resource."""
        return self._complex(name, "resource")

    def resources(self, name: str) -> list[JsonObject]:
        """Return all resources of a parameter."""
        return [_object(name, value, "resource") for value in self.all(name)]

    def element(self, name: str, kind: str) -> JsonObject | None:
        """Return a datatype such as Coding, CodeableConcept or Reference."""
        return self._complex(name, kind)

    def elements(self, name: str, kind: str) -> list[JsonObject]:
        """Return all values of a parameter of a datatype."""
        return [_object(name, value, kind) for value in self.all(name)]

    def parts(self, name: str) -> list["Parameters"]:
        """Return each repeat of a parameter that is made of parts."""
        found = []
        for value in self.all(name):
            if value.kind != "part":
                raise InvalidParameter(f"`{name}` is made of parts.", param=name)
            found.append(Parameters(_read_parts(value.value)))
        return found

    def _complex(self, name: str, kind: str) -> JsonObject | None:
        value = self.one(name)
        return None if value is None else _object(name, value, kind)


def _read_parts(parts: object) -> list[tuple[str, Given]]:
    if not isinstance(parts, Sequence) or isinstance(parts, str):
        raise InvalidParameter("`Parameters.parameter` is an array.", param="Parameters.parameter")
    return [_read_part(part) for part in parts]


def _read_part(part: object) -> tuple[str, Given]:
    if not isinstance(part, Mapping) or not isinstance(part.get("name"), str):
        raise InvalidParameter(
            "Each parameter is an object with a `name`.", param="Parameters.parameter"
        )
    name = str(part["name"])
    for member, value in part.items():
        if member.startswith("value") and len(member) > 5:
            return name, Given(member[5:], value)
    if "resource" in part:
        return name, Given("resource", part["resource"])
    return name, Given("part", part.get("part", ()))


def _text(name: str, value: Given) -> str:
    if isinstance(value.value, str) and value.kind not in {"resource", "part"}:
        return value.value
    raise InvalidParameter(f"`{name}` is text, not {value.kind}.", param=name)


def _object(name: str, value: Given, kind: str) -> JsonObject:
    if value.kind == kind and isinstance(value.value, dict):
        return value.value
    how = "resource" if kind == "resource" else f"value{kind}"
    raise InvalidParameter(f"Send `{name}` as `{how}` in a Parameters resource.", param=name)


def part(name: str, **value: object) -> JsonObject:
    """Return one parameter: `part("result", valueBoolean=True)`."""
    return {"name": name, **value}


def parts(name: str, *inner: JsonObject) -> JsonObject:
    """Return one parameter that is made of parts."""
    return {"name": name, "part": list(inner)}


def parameters(*given: JsonObject) -> JsonObject:
    """Return a Parameters resource."""
    answer: JsonObject = {"resourceType": "Parameters"}
    if given:
        answer["parameter"] = list(given)
    return answer
