"""JSON values whose numbers keep their digits while they are patched."""

from decimal import Decimal
from typing import Any, Final

import msgspec

from healthcloud.errors import BadRequest, ValidationFailed

Json = Any  # a JSON value of any kind

MAX_OPERATIONS: Final = 1000
MAX_COPIED: Final = 8 * 1024 * 1024


class InvalidPatch(BadRequest):
    """The patch document is not what its media type says."""

    issue_code = "invalid"


class PatchFailed(ValidationFailed):
    """An operation does not fit the resource: nothing was changed."""

    issue_code = "processing"


class Digits:
    """A decimal as it was written."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Digits):
            return Decimal(self.text) == Decimal(other.text)
        return isinstance(other, int) and Decimal(self.text) == other

    def __hash__(self) -> int:
        return hash(Decimal(self.text))


decode = msgspec.json.Decoder(float_hook=Digits).decode


def encode(value: Json) -> bytes:
    """Return the JSON text of a value."""
    return msgspec.json.encode(value, enc_hook=_encode_digits)


def _encode_digits(value: object) -> msgspec.Raw:
    assert isinstance(value, Digits)
    return msgspec.Raw(value.text.encode())


def is_equal(one: Json, other: Json) -> bool:
    """Tell whether two JSON values are equal: numbers by value, and true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_equal(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)
