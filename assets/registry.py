"""What can be installed: first-party packages in `assets/catalog/`, third-party entry points.

A third party ships a Python package that holds `asset.yaml` beside its code and declares, in the
entry-point group `healthcloud.assets`, a name for that package (`acme_lab = "acme_lab_asset"`).
Nothing imports a catalog package by name: code is loaded through the manifest's `entry_point`.
"""

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path

from assets import manifest as manifests
from assets.manifest import Manifest, ManifestError
from assets.sdk import Asset
from healthcloud.errors import NotFound

logger = logging.getLogger(__name__)

ENTRY_POINT_GROUP = "healthcloud.assets"
CATALOG = Path(__file__).resolve().parent / "catalog"
_CATALOG_MODULE = "assets.catalog"


class AssetNotFound(NotFound):
    """No asset of this id or alias in the catalog."""

    def __init__(self, asset_id: str) -> None:
        super().__init__(
            f"There is no asset {asset_id!r} in the catalog. GET /v1/assets lists what there is.",
            param="asset_id",
        )


@dataclass(frozen=True, slots=True)
class Package:
    """An asset as it lies on disk."""

    manifest: Manifest
    directory: Path
    module: str
    first_party: bool

    def read(self, relative: str) -> bytes:
        """Return a file of the package; a path that leaves the package is refused."""
        path = (self.directory / relative).resolve()
        if not path.is_relative_to(self.directory.resolve()):
            raise ManifestError(self.manifest.id, [f"{relative} is outside the package"])
        return path.read_bytes()

    def instantiate(self) -> Asset:
        """Return a new instance of the class that `entry_point` names."""
        if self.manifest.entry_point is None:
            return Asset()
        module_name, _, class_name = self.manifest.entry_point.partition(":")
        module = importlib.import_module(f"{self.module}.{module_name}")
        instance = getattr(module, class_name)()
        if not isinstance(instance, Asset):
            raise ManifestError(self.manifest.id, [f"{class_name} is not an assets.sdk asset"])
        return instance


def _first_party() -> Iterator[Package]:
    for path in sorted(CATALOG.glob("*/*/asset.yaml")):
        folder = path.parent
        module = f"{_CATALOG_MODULE}.{folder.parent.name}.{folder.name}"
        yield Package(manifests.load(path), folder, module, first_party=True)


def _third_party() -> Iterator[Package]:
    """Yield installed third-party packages; a broken one is logged and left out."""
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda item: item.name):
        try:
            directory = Path(str(files(point.module)))
            loaded = manifests.load(directory / "asset.yaml")
        except (ImportError, OSError, ManifestError) as error:
            logger.error("asset_package_unusable", extra={"package": point.name, "why": str(error)})
            continue
        yield Package(loaded, directory, point.module, first_party=False)


@lru_cache(maxsize=1)
def _packages() -> dict[str, Package]:
    found: dict[str, Package] = {}
    for package in (*_first_party(), *_third_party()):
        if package.manifest.id in found:
            logger.error("asset_id_taken", extra={"asset_id": package.manifest.id})
            continue
        found[package.manifest.id] = package
    return found


@lru_cache(maxsize=1)
def _names() -> dict[str, str]:
    """Map each accepted name to an asset id; ids win over slugs, slugs over aliases."""
    names: dict[str, str] = {}
    manifests_by_id = {asset_id: package.manifest for asset_id, package in _packages().items()}
    for asset_id, loaded in manifests_by_id.items():
        for alias in loaded.aliases:
            names.setdefault(alias, asset_id)
    for asset_id, loaded in manifests_by_id.items():
        names[f"{loaded.kind}_{loaded.slug}"] = asset_id
        names[loaded.slug] = asset_id
    connectors = {m.slug: i for i, m in manifests_by_id.items() if m.kind == "connector"}
    return names | connectors | {asset_id: asset_id for asset_id in manifests_by_id}


def package(asset_id: str) -> Package:
    """Return the package of an asset id or alias; raise AssetNotFound (404)."""
    resolved = _names().get(asset_id)
    if resolved is None:
        raise AssetNotFound(asset_id)
    return _packages()[resolved]


def get(asset_id: str) -> Manifest:
    """Return the manifest of an asset id or alias (`quest_diagnostics`); raise AssetNotFound."""
    return package(asset_id).manifest


def find(asset_id: str) -> Manifest | None:
    """Return the manifest of an asset id or alias, or None."""
    resolved = _names().get(asset_id)
    return None if resolved is None else _packages()[resolved].manifest


def all_assets() -> list[Manifest]:
    """Return every manifest, ordered by kind and name."""
    return sorted(
        (item.manifest for item in _packages().values()), key=lambda item: (item.kind, item.name)
    )


def forget() -> None:
    """Read the catalog anew at the next call (tests, a development server)."""
    _packages.cache_clear()
    _names.cache_clear()
