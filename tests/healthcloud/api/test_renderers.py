"""JSON as the API writes it."""

from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType

import pytest

from healthcloud.api.renderers import JSONRenderer, dump_json


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 22, 8, 30, tzinfo=UTC), '"2026-11-22T08:30:00Z"'),
        (date(2026, 11, 22), '"2026-11-22"'),
        (Decimal("101.20"), "101.20"),
        (Decimal("NaN"), "null"),
        (10**30, "1" + "0" * 30),
        (frozenset({"b", "a"}), '["a","b"]'),
        (MappingProxyType({"a": 1}), '{"a":1}'),
        (None, "null"),
        ("é", '"é"'),
    ],
)
def test_values_keep_their_meaning(value: object, text: str) -> None:
    assert dump_json(value).decode() == text


def test_no_data_is_no_body() -> None:
    assert JSONRenderer().render(None) == b""
