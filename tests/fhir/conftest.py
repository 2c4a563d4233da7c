"""The shared test material: official examples and validator cases, where the folder is there."""

import json
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@cache
def read_archive(name: str) -> dict[str, Any]:
    """Answer {file name: parsed JSON} of an archive; skip the test where it is missing."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"../shared/data/{name} is not here: this test needs the shared corpora")
    found: dict[str, Any] = {}
    with tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member) if member.name.endswith(".json") else None
            if content is not None:
                found[Path(member.name).name] = _parse(content.read())
    return found


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


@pytest.fixture(scope="session")
def official_examples() -> dict[str, Any]:
    """The official R4 examples of 675 clinical resources."""
    return read_archive("r4-examples-675.tar.xz")


@pytest.fixture(scope="session")
def validator_cases() -> dict[str, Any]:
    """97 R4 resources, with what HL7's validator says of each in `manifest.json`."""
    return read_archive("validator-cases-r4-base.tar.xz")
