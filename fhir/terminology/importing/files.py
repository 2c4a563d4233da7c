"""Finds the files of a release, in a folder or a zip archive."""

import csv
import io
import zipfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import IO

from healthcloud.errors import BadRequest


class MissingFile(BadRequest):
    """The release lacks a file, or a column of it."""


class ReleaseFiles:
    """A folder or zip archive of a release."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise MissingFile(f"There is no file or folder {path.name}.")
        self._path = path
        self._archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None

    def _names(self) -> list[str]:
        if self._archive is not None:
            return self._archive.namelist()
        if self._path.is_file():
            return [self._path.name]
        return sorted(str(p.relative_to(self._path)) for p in self._path.rglob("*") if p.is_file())

    def find(self, pattern: str) -> list[str]:
        """Return the files whose name fits a pattern such as `*sct2_Concept_Snapshot*.txt`."""
        return [name for name in self._names() if fnmatch(name, pattern)]

    def require(self, pattern: str) -> list[str]:
        """Return the files that fit; raise MissingFile without one."""
        found = self.find(pattern)
        if not found:
            raise MissingFile(f"The release has no file {pattern}.")
        return found

    def open(self, name: str) -> IO[str]:
        """Return a file as text."""
        if self._archive is not None:
            return io.TextIOWrapper(self._archive.open(name), encoding="utf-8-sig", newline="")
        path = self._path if self._path.is_file() else self._path / name
        return path.open(encoding="utf-8-sig", newline="")

    def rows(
        self, name: str, columns: tuple[str, ...], *, delimiter: str = ","
    ) -> Iterator[dict[str, str]]:
        """Yield the rows of a table with a header that has at least these columns."""
        with self.open(name) as text:
            if delimiter == ",":
                reader = csv.DictReader(text)
            else:
                reader = csv.DictReader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE)
            missing = set(columns) - set(reader.fieldnames or ())
            if missing:
                raise MissingFile(f"{name} has no column {', '.join(sorted(missing))}.")
            for row in reader:
                yield {key: value or "" for key, value in row.items() if key}

    def lines(self, name: str) -> Iterator[list[str]]:
        """Yield the fields of a table without header, separated by bars (RRF)."""
        with self.open(name) as text:
            for line in text:
                yield line.rstrip("\r\n").split("|")
