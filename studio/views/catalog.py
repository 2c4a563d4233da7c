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
    """Return the parts of the model card in the manifest's order, ready to show."""
    parts: list[dict[str, object]] = []
    for name, value in (manifest.model_card or {}).items():
        part: dict[str, object] = {"title": name.replace("_", " ").capitalize()}
        if isinstance(value, list):
            part["entries"] = value
        elif isinstance(value, dict):
            part["pairs"] = list(value.items())
        else:
            part["text"] = str(value)
        parts.append(part)
    return parts
