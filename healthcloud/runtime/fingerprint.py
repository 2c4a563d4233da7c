"""The code and the keys by which a database was brought up to date, as one short text.

A start with the same ones, such as after a crash, finds the schema as it left it.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_ROOMS: Final = ("healthcloud", "fhir", "assets", "workflows", "studio")
_BESIDE: Final = ("requirements.txt", "pyproject.toml")
_KEYS: Final = ("HEALTHCLOUD_SECRET_KEY", "HEALTHCLOUD_DATABASE", "HEALTHCLOUD_KEY_ENCRYPTION")


def fingerprint(root: Path, environment: Mapping[str, str]) -> str:
    """Return a text that is another one after any change of a file, or of a key."""
    told = hashlib.sha256()
    for path, size, changed in sorted(_files(root)):
        told.update(f"{path} {size} {changed}\n".encode())
    for name in sorted(environment):
        if name.startswith(_KEYS):
            told.update(f"{name}={environment[name]}\n".encode())
    return told.hexdigest()[:32]


def _files(root: Path) -> Iterator[tuple[str, int, int]]:
    for room in _ROOMS:
        for folder, below, names in os.walk(root / room):
            below[:] = [name for name in below if name != "__pycache__"]
            for name in names:
                yield _facts(Path(folder) / name)
    for name in _BESIDE:
        if (root / name).exists():
            yield _facts(root / name)


def _facts(path: Path) -> tuple[str, int, int]:
    found = path.stat()
    return str(path), found.st_size, found.st_mtime_ns
