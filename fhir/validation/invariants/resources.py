"""Invariants of every resource, and of Bundle and Parameters.

https://hl7.org/fhir/R4/domainresource.html, https://hl7.org/fhir/R4/bundle.html
"""

from collections.abc import Iterator

import orjson

from fhir.definitions import is_resource_type
from fhir.validation.invariants.rule import (
    Context,
    Holds,
    Json,
    Node,
    Rule,
    are_distinct,
    has,
    has_any,
    has_choice,
    items,
)
from fhir.validation.narrative import fragments

_ASKING = {"batch", "transaction", "history"}
_OTHER_URL = "fullUrl does not end with the Type/id of its resource: correct it."
_ANSWERING = {"batch-response", "transaction-response", "history"}


def _is_used(node: Node, _: Context) -> bool:
    """dom-3: every contained resource is referred to, or refers to its container."""
    if "contained" not in node:
        return True
    if _is_named_plainly(node):
        return True
    used = set(_fragments(node))
    return all(
        f"#{entry.get('id')}" in used or "#" in set(_fragments(entry))
        for entry in node["contained"]
    )


def _is_named_plainly(node: Node) -> bool:
    """Tell whether the text of a resource holds a string `#id` for each that it contains.

    Asking the text costs a fiftieth of walking through the resource.
    """
    try:
        text = orjson.dumps(node)
        named = [orjson.dumps(f"#{entry['id']}") for entry in node["contained"]]
    except (TypeError, LookupError):  # what JSON can't hold, or a shape that others report
        return False
    return all(name in text for name in named)


def _fragments(value: Json) -> Iterator[str]:
    """Yield every text that is a fragment reference, in references, canonicals and uris alike."""
    if isinstance(value, str):
        if value.startswith("#"):
            yield value
        elif value.startswith("<div"):
            yield from fragments(value)
    elif isinstance(value, dict):
        for below in value.values():
            yield from _fragments(below)
    elif isinstance(value, list):
        for item in value:
            yield from _fragments(item)


def _is_flat(node: Node, _: Context) -> bool:
    return "contained" not in node or not any("contained" in entry for entry in node["contained"])


def _lacks_meta(*names: str) -> Holds:
    return lambda n, c: (
        "contained" not in n
        or not any(has_any(meta, *names) for meta in items(n, "contained", "meta"))
    )


def _each(element: str, types: set[str]) -> Holds:
    def holds(node: Node, _: Context) -> bool:
        wanted = node.get("type") in types
        return all((element in entry) == wanted for entry in items(node, "entry"))

    return holds


def _full_urls_differ(node: Node, _: Context) -> bool:
    return node.get("type") == "history" or are_distinct(
        (entry["fullUrl"], entry.get("resource", {}).get("meta", {}).get("versionId"))
        for entry in items(node, "entry")
        if "fullUrl" in entry
    )


def _full_url_agrees(node: Node, _: Context) -> bool:
    """A RESTful fullUrl ends with the type and id of the resource."""
    resource, parts = node.get("resource", {}), node.get("fullUrl", "").split("/")
    if "id" not in resource or "://" not in node.get("fullUrl", ""):
        return True
    return not is_resource_type(parts[-2]) or parts[-2:] == [
        resource.get("resourceType"),
        resource["id"],
    ]


def _full_url_may_be(node: Node, context: Context) -> bool:
    """Three Bundles that R4 publishes name another id; never in the first entry, nor a type."""
    if _full_url_agrees(node, context):
        return True
    is_first = context.resource["entry"][0] is node
    return not is_first and node["fullUrl"].split("/")[-2] == node["resource"].get("resourceType")


def _starts_with(bundle_type: str, resource_type: str) -> Holds:
    def holds(node: Node, _: Context) -> bool:
        if node.get("type") != bundle_type:
            return True
        entries = node.get("entry") or [{}]
        found = entries[0].get("resource", {}).get("resourceType")
        return bool(found == resource_type)

    return holds


def _is_one_value(node: Node, _: Context) -> bool:
    """Parameters inv-1: a value, a resource or parts, exactly one of them."""
    kinds = [has_choice(node, "value"), "resource" in node, "part" in node]
    return kinds.count(True) == 1


def _is_document_identified(node: Node, _: Context) -> bool:
    return node.get("type") != "document" or has(node.get("identifier", {}), "system", "value")


RULES: dict[str, Rule] = {
    "dom-2": Rule(
        _is_flat, "A contained resource cannot contain others: contain them side by side."
    ),
    "dom-3": Rule(
        _is_used, "Each contained resource needs an id and a reference '#id' to it: add or drop it."
    ),
    "dom-4": Rule(
        _lacks_meta("versionId", "lastUpdated"),
        "A contained resource has no version of its own: remove meta.versionId and lastUpdated.",
    ),
    "dom-5": Rule(
        _lacks_meta("security"),
        "A contained resource has no security labels of its own: put them on the container.",
    ),
    "dom-6": Rule(
        lambda n, c: "div" in n.get("text", ()),
        "A resource should have a narrative for people to read.",
        "warning",
    ),
    "bdl-1": Rule(
        lambda n, c: "total" not in n or n.get("type") in {"searchset", "history"},
        "total is only for searchset and history bundles: remove it.",
    ),
    "bdl-2": Rule(
        lambda n, c: n.get("type") == "searchset" or not any(items(n, "entry", "search")),
        "entry.search is only for searchset bundles: remove it.",
    ),
    "bdl-3": Rule(
        _each("request", _ASKING),
        "entry.request must be in every entry of a batch, transaction or history, and in no other.",
    ),
    "bdl-4": Rule(
        _each("response", _ANSWERING),
        "entry.response must be in every entry of a response or history, and in no other.",
    ),
    "bdl-5": Rule(
        lambda n, c: has_any(n, "resource", "request", "response"),
        "An entry needs a resource, a request or a response.",
    ),
    "bdl-7": Rule(_full_urls_differ, "Two entries have the same fullUrl and version: drop one."),
    "bundle-full-url": Rule(
        lambda n, c: ":" in n.get("fullUrl", ":"),
        "fullUrl is absolute: give an http(s) url, or urn:uuid: with a UUID.",
    ),
    "bundle-full-url-id": Rule(_full_url_may_be, _OTHER_URL),
    "bundle-full-url-same": Rule(_full_url_agrees, _OTHER_URL, "warning"),
    "bundle-search-id": Rule(
        lambda n, c: (
            n.get("type") != "searchset"
            or all(
                "id" in resource or resource.get("resourceType") == "OperationOutcome"
                for resource in items(n, "entry", "resource")
            )
        ),
        "Search results need ids: add them.",
    ),
    "bundle-link": Rule(
        lambda n, c: are_distinct(link.get("relation") for link in items(n, "link")),
        "Two links have the same relation: drop one.",
    ),
    "bdl-8": Rule(
        lambda n, c: "/_history/" not in n.get("fullUrl", ""),
        "fullUrl names no version: remove /_history/…",
    ),
    "bdl-9": Rule(_is_document_identified, "A document needs an identifier with system and value."),
    "bdl-10": Rule(
        lambda n, c: n.get("type") != "document" or "timestamp" in n,
        "A document needs a timestamp.",
    ),
    "bdl-11": Rule(
        _starts_with("document", "Composition"), "A document starts with its Composition."
    ),
    "bdl-12": Rule(
        _starts_with("message", "MessageHeader"), "A message starts with its MessageHeader."
    ),
    "Parameters.inv-1": Rule(
        _is_one_value, "A parameter has either a value, a resource or parts: exactly one."
    ),
}
