"""What the extractors answer: one small value for each thing a search can find.

Every value names its search parameter in `param`. All are immutable, compare by content and can
be hashed. Nothing is folded, hashed or converted here: that is the work of storage and query.
https://hl7.org/fhir/R4/search.html
"""

from datetime import datetime
from decimal import Decimal

from msgspec import Struct


class Token(Struct, frozen=True, gc=False):
    """A system and code. https://hl7.org/fhir/R4/search.html#token

    `system` None: the value has no system (`|code` finds it). For elements of type `code` it is
    the implicit system of their required value set. `text` is what `:text` searches: the
    coding's display, the concept's text or the text of an identifier's type. A concept's text
    comes as a token of its own with `code` None, which only `:text` can find.
    """

    param: str
    system: str | None
    code: str | None
    text: str | None = None


class TypedIdentifier(Struct, frozen=True, gc=False):
    """An identifier with a coding of its type, for `:of-type` (`type_system|type_code|value`)."""

    param: str
    type_system: str | None
    type_code: str
    value: str


class String(Struct, frozen=True, gc=False):
    """A text as the client wrote it; search folds it with `fold`."""

    param: str
    value: str


class Date(Struct, frozen=True, gc=False):
    """The instants [low, high) that a date, dateTime, instant, Period or Timing covers, in UTC.

    An open end of a Period is EARLIEST or LATEST.
    """

    param: str
    low: datetime
    high: datetime


class Quantity(Struct, frozen=True, gc=False):
    """A number with a unit: Quantity and its kin, Money, Range, SampledData.

    `value` is the number without regard to its precision (0.40 equals 0.4); it is None for a
    Range and for a quantity with a comparator. `low` and `high` bound the value; None is open.
    `system` and `code` are the coded unit, `unit` the printed one. `is_open`: the bound itself
    is out, as in `<5`.
    """

    param: str
    value: Decimal | None
    low: Decimal | None
    high: Decimal | None
    system: str | None
    code: str | None
    unit: str | None
    is_open: bool = False


class Number(Struct, frozen=True, gc=False):
    """A plain number; `value` is None for a range, whose bounds are `low` and `high`."""

    param: str
    value: Decimal | None
    low: Decimal | None
    high: Decimal | None


class Reference(Struct, frozen=True, gc=False):
    """A reference, by what it says. https://hl7.org/fhir/R4/search.html#reference

    `type` and `id` come from `Type/id`, also at the end of an absolute `url`; a canonical has
    `url` and `version` only; a logical reference has `identifier_system` and
    `identifier_value`, and `type` when Reference.type says so. `text` is the display.
    References to contained resources (`#id`) are not searchable by id and carry none; they are
    here because the element is present, which is what `:missing=false` asks.
    """

    param: str
    type: str | None
    id: str | None
    version: str | None = None
    url: str | None = None
    identifier_system: str | None = None
    identifier_value: str | None = None
    text: str | None = None


class Uri(Struct, frozen=True, gc=False):
    """A uri, compared exactly."""

    param: str
    value: str


class Position(Struct, frozen=True, gc=False):
    """A place on earth in WGS84 degrees, for `near`."""

    param: str
    latitude: float
    longitude: float


Value = Token | TypedIdentifier | String | Date | Quantity | Number | Reference | Uri | Position


class Composite(Struct, frozen=True, gc=False):
    """One combination of component values found under the same focus, in component order.

    The components' own `param` is empty. https://hl7.org/fhir/R4/search.html#combining
    """

    param: str
    components: tuple[Value, ...]


class Extracted(Struct, frozen=True):
    """Everything that searches can find a resource by, except `_id` and `_lastUpdated`.

    Those two are columns of the store, which alone knows their final values.
    """

    tokens: list[Token]
    identifiers: list[TypedIdentifier]
    strings: list[String]
    dates: list[Date]
    quantities: list[Quantity]
    numbers: list[Number]
    references: list[Reference]
    uris: list[Uri]
    positions: list[Position]
    composites: list[Composite]

    def present(self) -> set[str]:
        """Name the parameters that have a value: the rest is found by `:missing=true`."""
        names: set[str] = set()
        for field in self.__struct_fields__:
            names.update(value.param for value in getattr(self, field))
        return names
