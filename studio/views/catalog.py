"""The catalog: what can be installed, and one asset before it is."""

from typing import get_args

from django.http import HttpResponse

from assets import queries, registry
from assets.manifest import Kind, Manifest
from studio.calls import ApiCall
from studio.page import Page, studio_page

KINDS: tuple[str, ...] = get_args(Kind)


@studio_page("catalog", needs="asset.read")
def catalog(page: Page) -> HttpResponse:
    """List the assets, filtered by kind and words."""
    words = page.request.GET.get("q", "").strip()
    kind = page.request.GET.get("kind", "")
    installed = {found.asset_id: found for found in queries.installations()}
    shown = [
        {"manifest": manifest, "installation": installed.get(manifest.id)}
        for manifest in registry.all_assets()
        if kind in ("", manifest.kind) and matches(manifest, words)
    ]
    context = {"assets": shown, "kinds": KINDS, "kind": kind, "q": words}
    return page.render("studio/catalog/list.html", context)


@studio_page("catalog", needs="asset.read")
def asset(page: Page, asset_id: str) -> HttpResponse:
    """Show what an asset does, needs and may touch."""
    manifest = registry.get(asset_id)
    body: dict[str, object] = {"asset_id": manifest.id, "project_id": page.project.id}
    context: dict[str, object] = {
        "manifest": manifest,
        "manifest_json": manifest.model_dump(mode="json", by_alias=True, exclude_defaults=True),
        "installation": queries.installation_of(manifest.id, page.project.id),
        "tab": page.request.GET.get("tab", "overview"),
        "card": model_card(manifest),
        "can_install": page.can("asset.install"),
        "call": ApiCall("POST", "/v1/assets/install", body),
    }
    return page.render("studio/catalog/asset.html", context)


def matches(manifest: Manifest, words: str) -> bool:
    """Say whether every word stands in the asset's name, summary, categories or tags."""
    text = " ".join(
        [manifest.name, manifest.summary, manifest.id, *manifest.categories, *manifest.tags]
    ).lower()
    return all(word in text for word in words.lower().split())


def model_card(manifest: Manifest) -> list[dict[str, object]]:
    """Return the parts of the model card, ready to show; what is one word goes into the first."""
    card = manifest.model_card or {}
    words = [(name, value) for name, value in card.items() if not isinstance(value, dict | list)]
    parts: list[dict[str, object]] = [{"title": "At a glance", "pairs": words}] if words else []
    for name, value in card.items():
        title = name.replace("_", " ").capitalize()
        if isinstance(value, list):
            parts.append({"title": title, "entries": [_entry(item) for item in value]})
        elif isinstance(value, dict):
            parts.append({"title": title, "pairs": list(value.items())})
    return parts


def _entry(item: object) -> dict[str, str]:
    """Return one entry of a list as text and, for a citation, the address of its source."""
    if not isinstance(item, dict):
        return {"text": str(item), "url": ""}
    doi = item.get("doi")
    text = " · ".join(str(value) for name, value in item.items() if name not in {"url", "doi"})
    return {"text": text, "url": str(item.get("url") or (f"https://doi.org/{doi}" if doi else ""))}
