"""Tables as JSON, newline-delimited JSON and CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fhir.analytics.view import Column, Row

FORMATS: Final = {
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "csv": "text/csv; charset=utf-8",
}
_encode = msgspec.json.Encoder(decimal_format="number").encode


def write_table(
    rows: Sequence[Row], columns: Sequence[Column], *, form: str, header: bool = True
) -> bytes:
    """Return the table in a form of FORMATS; numbers keep their digits."""
    if form == "json":
        return _encode(list(rows))
    if form == "ndjson":
        return b"".join(_encode(row) + b"\n" for row in rows)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_cell(row.get(column.name)) for column in columns])
    return out.getvalue().encode()


def _cell(value: Any) -> str:  # noqa: ANN401  # JSON
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return _encode(value).decode()
    return str(value)
