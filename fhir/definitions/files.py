"""Opens the data files of the definitions."""

import gzip
from pathlib import Path
from typing import Any

import orjson

DATA = Path(__file__).resolve().parent / "data"


def read_data(name: str) -> dict[str, Any]:
    """Parse one data file; callers keep what they make of it."""
    content: dict[str, Any] = orjson.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
    return content


def read_plain(name: str) -> dict[str, Any]:
    """Parse one uncompressed data file."""
    content: dict[str, Any] = orjson.loads((DATA / f"{name}.json").read_bytes())
    return content
