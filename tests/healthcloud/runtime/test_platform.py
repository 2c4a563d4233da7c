"""What a start does, without starting anything."""

import os
from pathlib import Path

import pytest

from healthcloud.runtime.fingerprint import fingerprint
from healthcloud.runtime.platform import LocalPlatform


class Marked:
    """A database that remembers its mark."""

    def __init__(self) -> None:
        self.text = ""

    def mark(self) -> str:
        return self.text

    def set_mark(self, text: str) -> None:
        self.text = text


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A checkout with one file."""
    (tmp_path / "fhir").mkdir()
    (tmp_path / "fhir" / "models.py").write_text("one = 1\n")
    return tmp_path


def test_a_change_of_a_file_or_of_a_key_is_another_fingerprint(code: Path) -> None:
    keys = {"HEALTHCLOUD_SECRET_KEY": "k", "PORT": "8000"}
    first = fingerprint(code, keys)
    assert fingerprint(code, {**keys, "PORT": "9000"}) == first
    assert fingerprint(code, {**keys, "HEALTHCLOUD_SECRET_KEY": "other"}) != first
    (code / "fhir" / "__pycache__").mkdir()
    (code / "fhir" / "__pycache__" / "models.pyc").touch()
    assert fingerprint(code, keys) == first
    os.utime(code / "fhir" / "models.py", (1, 1))
    second = fingerprint(code, keys)
    assert second != first
    (code / "fhir" / "more.py").touch()
    assert fingerprint(code, keys) != second


def test_a_schema_is_brought_up_to_date_once_by_the_same_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    monkeypatch.setattr(
        LocalPlatform, "manage", lambda self, *arguments, **_: commands.append(arguments[0])
    )
    database = Marked()

    def start(**keys: str) -> None:
        platform = LocalPlatform(tmp_path, keys, log=lambda line: None)
        platform.database = database
        platform.migrate()

    start(HEALTHCLOUD_SECRET_KEY="k")
    start(HEALTHCLOUD_SECRET_KEY="k")
    assert commands == ["migrate_tenants"]
    start(HEALTHCLOUD_SECRET_KEY="other")
    assert commands == ["migrate_tenants"] * 2


def test_a_database_of_ones_own_is_brought_up_to_date_at_each_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []
    monkeypatch.setattr(
        LocalPlatform, "manage", lambda self, *arguments, **_: commands.append(arguments[0])
    )
    for _ in range(2):
        LocalPlatform(tmp_path, {}, log=lambda line: None).migrate()
    assert commands == ["migrate_tenants"] * 2
