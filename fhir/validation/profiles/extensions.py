"""Extensions wherever they are: what their definitions say of their values and places.

https://hl7.org/fhir/R4/defining-extensions.html#context and
https://hl7.org/fhir/R4/extensibility.html#modifierExtension
"""

from collections.abc import Iterator
from typing import Any, Final

from fhir.fhirpath.nodes import ancestors
from fhir.validation.issues import Issue
from fhir.validation.profiles.compiling import ProfileError
from fhir.validation.profiles.items import Item, all_children, children, item_of
from fhir.validation.profiles.library import Library
from fhir.validation.profiles.profile_check import item_issues

Chain = tuple[tuple[str, Item], ...]
"""The elements from the resource to one of them, each with its name."""

_FIELDS: Final = ("extension", "modifierExtension")
_ANYWHERE: Final = frozenset({"Element", "*"})


def extension_issues(resource: dict[str, Any], library: Library) -> list[Issue]:
    """Return what is wrong with the extensions of a resource, those inside of it included."""
    check = _Extensions(library)
    root = item_of(resource)
    return list(dict.fromkeys(check.below(root, ((root.kind, root),))))


class _Extensions:
    def __init__(self, library: Library) -> None:
        self.library = library
        self.unknown: set[str] = set()

    def below(self, item: Item, chain: Chain) -> Iterator[Issue]:
        for field in _FIELDS:
            for extension in children(item, field):
                yield from self._one(extension, field, chain)
        for name, child in all_children(item):
            # Entries and contained resources begin a chain of their own.
            inner = ((child.kind, child),) if child.home == (child.path, "") else None
            yield from self.below(child, inner or (*chain, (name, child)))

    def _one(self, item: Item, field: str, chain: Chain) -> Iterator[Issue]:
        url = item.value.get("url") if isinstance(item.value, dict) else None
        owner = chain[-1][1]
        # The parts of a complex extension are named by it, not by a url of their own.
        if not isinstance(url, str) or (owner.kind == "Extension" and ":" not in url):
            return
        definition = self.library.definition(url)
        if definition is None:
            yield from self._unknown(item, field, url)
            return
        if definition.get("type") != "Extension":
            text = f"{url} is the url of a {definition.get('type')} profile, of no extension."
            yield Issue("error", "value", item.expression, f"{item.expression}: {text}")
            return
        yield from _modifier_issues(item, field, url, definition)
        if not _is_allowed(definition, chain):
            places = ", ".join(str(c.get("expression")) for c in definition.get("context", ()))
            text = f"the extension {url} is for {places}, not for this place."
            yield Issue("error", "structure", item.expression, f"{item.expression}: {text}")
        try:
            shape = self.library.shape(url)
        except ProfileError as error:
            yield Issue("warning", "not-found", item.expression, f"{item.expression}: {error}")
            return
        if shape is not None:
            yield from item_issues(item, shape, url, self.library)

    def _unknown(self, item: Item, field: str, url: str) -> Iterator[Issue]:
        if url in self.unknown:
            return
        self.unknown.add(url)
        if field == "extension":
            text = f"the extension {url[:300]} is not known here, so its value was not checked."
            yield Issue("information", "not-found", item.expression, f"{item.expression}: {text}")
            return
        text = (
            f"the modifier extension {url[:300]} is not known here, so nobody can tell what it "
            "changes: store its StructureDefinition, or take it away."
        )
        yield Issue("warning", "not-found", item.expression, f"{item.expression}: {text}")


def _modifier_issues(
    item: Item, field: str, url: str, definition: dict[str, Any]
) -> Iterator[Issue]:
    """Yield an issue where a modifier is no modifierExtension, or something else is one.

    The core package is kept without what says so; nothing is said of its extensions.
    """
    if "id" not in definition:
        return
    elements = definition.get("snapshot", definition.get("differential", {})).get("element", ())
    modifies = any(e.get("path") == "Extension" and e.get("isModifier") is True for e in elements)
    if modifies is (field == "modifierExtension"):
        return
    right = "modifierExtension" if modifies else "extension"
    text = f"{url} stands in {field}; its definition wants it in {right}."
    yield Issue("error", "structure", item.expression, f"{item.expression}: {text}")


def _is_allowed(definition: dict[str, Any], chain: Chain) -> bool:
    contexts = definition.get("context", ())
    if not contexts:
        return True
    names = set(_names(chain))
    return any(_fits(context, names, chain) for context in contexts)


def _fits(context: dict[str, Any], names: set[str], chain: Chain) -> bool:
    kind, expression = context.get("type"), str(context.get("expression", ""))
    if kind == "fhirpath":
        return True  # says something of the content, too; no extension is refused for it
    if kind == "extension":
        return expression.partition("#")[0] in {url for url in map(_url, chain) if url}
    return expression in _ANYWHERE or expression.replace("[x]", "") in names


def _url(link: tuple[str, Item]) -> str | None:
    value = link[1].value
    url = value.get("url") if isinstance(value, dict) and link[1].kind == "Extension" else None
    return url if isinstance(url, str) else None


def _names(chain: Chain) -> Iterator[str]:
    """Yield how an element may be named: by its types, and by each path that leads to it."""
    path = ""
    for name, item in reversed(chain):
        for kind in ancestors(item.kind):
            yield f"{kind}{path}"
        if item.home[1]:  # an element that repeats the content of another has its name, too
            yield f"{item.home[0]}.{item.home[1]}{path}"
        path = f".{name}{path}"
