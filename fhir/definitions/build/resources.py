"""Takes the facts of the package's code systems, value sets and concept maps, not their prose."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fhir.definitions.build.package import CorePackage

_KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    "CodeSystem": (
        *("version", "name", "title", "status", "experimental", "date", "caseSensitive"),
        *("valueSet", "hierarchyMeaning", "compositional", "content", "supplements", "count"),
        *("property", "concept"),
    ),
    "ValueSet": ("version", "name", "title", "status", "experimental", "date", "immutable",
                 "compose"),
    "ConceptMap": (
        *("version", "name", "title", "status", "experimental", "date"),
        *("sourceUri", "sourceCanonical", "targetUri", "targetCanonical", "group"),
    ),
}  # fmt: skip
_PROSE: Final = frozenset({"definition", "extension", "description", "comment"})


def build_resources(package: CorePackage, resource_type: str) -> dict[str, Any]:
    """Answer {url: facts} of every resource of a type, by url."""
    kept = _KEPT[resource_type]
    return {
        url: _without_prose({name: resource[name] for name in kept if name in resource})
        for url, resource in package.by_type(resource_type).items()
    }


def _without_prose(value: object) -> Any:  # noqa: ANN401  # any JSON
    if isinstance(value, dict):
        return {k: _without_prose(v) for k, v in value.items() if not _is_prose(k)}
    if isinstance(value, list):
        return [_without_prose(item) for item in _filled(value)]
    return value


def _is_prose(name: str) -> bool:
    return name in _PROSE or name.startswith("_")


def _filled(values: Iterable[object]) -> list[object]:
    return [value for value in values if value is not None]
