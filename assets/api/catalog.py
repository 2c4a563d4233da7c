"""`/v1/assets`: the catalog, the manifest's schema, and installing."""

from typing import Any, ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from assets import manifest, queries, registry, services
from assets.api import represent
from assets.api.bodies import ConnectBody, InstallBody
from assets.api.documentation import OBJECT, text
from assets.manifest import Manifest
from assets.models import Deployment, Installation
from assets.sdk import Json
from healthcloud.api.pagination import page_of
from healthcloud.api.views import PlatformView
from healthcloud.errors import Forbidden

KINDS = ["agent", "app", "connector", "dataset", "model"]


class Assets(PlatformView):
    """The catalog."""

    required_scopes: ClassVar = {"GET": "assets:read"}

    @extend_schema(
        parameters=[
            text("kind", "Only assets of this kind.", KINDS),
            text("category", "Only assets of this category."),
            text("q", "Words of the id, name, summary, tags or categories."),
        ]
    )
    def get(self, request: Request) -> Response:
        """List assets; filter by `kind`, `category` and words `q`."""
        query = request.query_params
        found = [
            item
            for item in registry.all_assets()
            if query.get("kind", item.kind) == item.kind
            and (not query.get("category") or query["category"] in item.categories)
            and _mentions(item, query.get("q", ""))
        ]
        installed = _installed(self.scope.project_id)
        data = [represent.asset(item, installed.get(item.id), self.scope) for item in found]
        return Response(page_of(data, request))


class AssetDetail(PlatformView):
    """One asset of the catalog."""

    required_scopes: ClassVar = {"GET": "assets:read"}

    def get(self, request: Request, asset_id: str) -> Response:
        """Return an asset's manifest: schema, requirements, permissions, model card."""
        found = registry.get(asset_id)
        installed = _installed(self.scope.project_id).get(found.id)
        return Response(represent.asset_detail(found, installed, self.scope))


class ManifestSchema(PlatformView):
    """The JSON Schema of `asset.yaml`."""

    required_scopes: ClassVar = {"GET": "assets:read"}

    def get(self, request: Request) -> Response:
        """Return the schema that every manifest is checked against."""
        return Response({"object": "json_schema", "schema": manifest.json_schema()})


class Install(PlatformView):
    """Installing."""

    required_scopes: ClassVar = {"POST": "assets:write"}

    @extend_schema(request=InstallBody, responses={201: OBJECT})
    def post(self, request: Request) -> Response:
        """Install an asset into the project, with what it requires; it does not run yet."""
        data: dict[str, Any] = self.validated(InstallBody)
        installed = services.install(actor=self.actor, now=self.now, **data)
        return Response(represent.installation(installed), status=201)


class Integrations(PlatformView):
    """The integration catalog."""

    required_scopes: ClassVar = {"GET": "assets:read"}

    def get(self, request: Request) -> Response:
        """List the connectors with the project's state of each."""
        connectors = [item for item in registry.all_assets() if item.kind == "connector"]
        installed = _installed(self.scope.project_id)
        deployed = _deployed(self.scope.project_id)
        data = [
            _integration(item, installed.get(item.id), deployed.get(item.id)) for item in connectors
        ]
        return Response(page_of(data, request))


class IntegrationDetail(PlatformView):
    """One integration."""

    required_scopes: ClassVar = {"GET": "assets:read", "PUT": "deployments:write"}

    def get(self, request: Request, slug: str) -> Response:
        """Return a connector with the project's state of it."""
        found = registry.get(slug)
        installed = _installed(self.scope.project_id).get(found.id)
        deployed = _deployed(self.scope.project_id).get(found.id)
        return Response(_integration(found, installed, deployed))

    @extend_schema(request=ConnectBody, responses={202: OBJECT})
    def put(self, request: Request, slug: str) -> Response:
        """Connect in one request: install if need be, configure, set credentials, deploy."""
        if not self.principal.can("assets:write"):
            raise Forbidden("Connecting also needs the scope `assets:write`.")
        data: dict[str, Any] = self.validated(ConnectBody)
        deployed = services.connect(actor=self.actor, now=self.now, asset_id=slug, **data)
        body = _integration(registry.get(slug), deployed.installation, deployed)
        return Response(body | {"deployment": represent.deployment(deployed)}, status=202)


def _mentions(item: Manifest, words: str) -> bool:
    text = " ".join([item.id, item.name, item.summary, *item.tags, *item.categories]).lower()
    return all(word in text for word in words.lower().split())


def _installed(project_id: str | None) -> dict[str, Installation]:
    if project_id is None:
        return {}
    return {item.asset_id: item for item in queries.installations().filter(project_id=project_id)}


def _deployed(project_id: str | None) -> dict[str, Deployment]:
    if project_id is None:
        return {}
    return {item.asset_id: item for item in queries.deployments().filter(project_id=project_id)}


def _integration(
    item: Manifest, installation: Installation | None, deployment: Deployment | None
) -> Json:
    return {
        "id": item.id,
        "object": "integration",
        "slug": item.slug,
        "name": item.name,
        "summary": item.summary,
        "categories": list(item.categories),
        "state": _state(installation, deployment),
        "installation_id": installation.id if installation else None,
        "deployment_id": deployment.id if installation and deployment else None,
        "error": cast("Json | None", deployment.error) if installation and deployment else None,
        "actions": [
            {"name": action.name, "title": action.title, "effect": action.effect}
            for action in item.provides.actions
        ],
    }


def _state(installation: Installation | None, deployment: Deployment | None) -> str:
    if installation is None:
        return "not_installed"
    if deployment is None:
        return "installed"
    return "connected" if deployment.status == "active" else deployment.status
