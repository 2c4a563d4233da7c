"""`/v1/asset-installations`."""

from typing import ClassVar, cast

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from assets import queries, services
from assets.api import represent
from assets.api.bodies import ConfigureBody
from assets.api.documentation import text
from assets.models import Installation
from healthcloud.api.pagination import PAGE, paginate
from healthcloud.api.views import PlatformView
from healthcloud.errors import ValidationFailed

READ_WRITE = {"GET": "assets:read", "PATCH": "assets:write", "DELETE": "assets:write"}


class Installations(PlatformView):
    """What is installed."""

    required_scopes: ClassVar = {"GET": "assets:read"}

    @extend_schema(parameters=[text("asset_id", "Only this asset's installation."), *PAGE])
    def get(self, request: Request) -> Response:
        """List installations, newest first."""
        rows = queries.installations()
        if asset_id := request.query_params.get("asset_id"):
            rows = rows.filter(asset_id=asset_id)
        return Response(paginate(rows, request, serialize=represent.installation))


class InstallationDetail(PlatformView):
    """One installation."""

    required_scopes: ClassVar = READ_WRITE
    addressed_row: ClassVar = ("installation_id", Installation)

    def get(self, request: Request, installation_id: str) -> Response:
        """Return an installation; its credentials only as set or not."""
        return Response(represent.installation(queries.installation(installation_id)))

    @extend_schema(request=ConfigureBody)
    def patch(self, request: Request, installation_id: str) -> Response:
        """Replace the configuration; deploy again to run with it."""
        config = cast("dict[str, object]", self.validated(ConfigureBody)["config"])
        changed = services.configure(
            actor=self.actor, now=self.now, installation_id=installation_id, config=config
        )
        return Response(represent.installation(changed))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, installation_id: str) -> Response:
        """Uninstall; refused while the asset is deployed."""
        services.uninstall(actor=self.actor, now=self.now, installation_id=installation_id)
        return Response(status=204)


class InstallationUpgrade(PlatformView):
    """Upgrading."""

    required_scopes: ClassVar = {"POST": "assets:write"}
    addressed_row: ClassVar = ("installation_id", Installation)

    @extend_schema(request=None)
    def post(self, request: Request, installation_id: str) -> Response:
        """Take the catalog's version; deploy again to run it."""
        upgraded = services.upgrade(actor=self.actor, now=self.now, installation_id=installation_id)
        return Response(represent.installation(upgraded))


class InstallationCredentials(PlatformView):
    """Secrets: written, never read."""

    required_scopes: ClassVar = {"PUT": "assets:write"}
    addressed_row: ClassVar = ("installation_id", Installation)

    def put(self, request: Request, installation_id: str) -> Response:
        """Set secrets by name; answers only that they are set."""
        given = self.body.get("credentials", _without_scope(self.body))
        if not isinstance(given, dict):
            raise ValidationFailed("`credentials` is an object of texts.", param="credentials")
        changed = services.set_credentials(
            actor=self.actor, now=self.now, installation_id=installation_id, credentials=given
        )
        return Response(represent.installation(changed))


class InstallationCheck(PlatformView):
    """The connection test."""

    required_scopes: ClassVar = {"POST": "assets:write"}
    addressed_row: ClassVar = ("installation_id", Installation)
    own_transaction = frozenset({"POST"})

    @extend_schema(request=None)
    def post(self, request: Request, installation_id: str) -> Response:
        """Test the connection with the saved configuration: ordered probes, each with a remedy."""
        installation, probes = services.check(
            scope=self.scope, actor=self.actor, now=self.now, installation_id=installation_id
        )
        body = {
            "object": "connection_check",
            "installation_id": installation.id,
            "ok": all(item.ok for item in probes),
            "checked_at": represent.stamp(self.now),
            "probes": [item.as_dict() for item in probes],
        }
        return Response(body)


def _without_scope(body: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in body.items() if name not in _SCOPE_MEMBERS}


_SCOPE_MEMBERS = frozenset({"project_id", "environment", "organization_id"})
