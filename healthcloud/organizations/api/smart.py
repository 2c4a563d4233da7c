"""/v1/smart: apps of SMART App Launch, their launches, and what people granted them."""

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.errors import BadRequest, Forbidden, NotFound
from healthcloud.organizations.api.base import OrganizationView
from healthcloud.organizations.api.serializers import ConstantField
from healthcloud.organizations.authentication import token_expiry
from healthcloud.organizations.models import SmartClient, SmartGrant
from healthcloud.organizations.smart import clients, grants, launches
from healthcloud.tenancy.scope import public_scope

_Text = serializers.CharField


class SmartClientAnswer(serializers.Serializer[SmartClient]):
    """An app without its secret; `id` is its `client_id`."""

    id = _Text(source="key_id")
    object = ConstantField("smart_client")
    name = _Text(source="key.name")
    client_type = _Text(source="kind")
    project_id = _Text(source="key.project_id")
    environment = _Text(source="key.environment.kind")
    redirect_uris = serializers.ListField(child=_Text())
    launch_uri = _Text()
    scopes = serializers.ListField(source="key.scopes", child=_Text())
    jwks = serializers.JSONField(allow_null=True)
    jwks_uri = serializers.SerializerMethodField()
    created_by = _Text(source="key.created_by_id")
    revoked_at = serializers.DateTimeField(source="key.revoked_at", allow_null=True)
    created_at = serializers.DateTimeField(source="key.created_at")

    def get_jwks_uri(self, client: SmartClient) -> str | None:
        """Return where the app publishes its keys."""
        return client.jwks_uri or None


class IssuedClientAnswer(SmartClientAnswer):
    """An app with its secret, which is shown this once; null for those that have none."""

    client_secret = serializers.SerializerMethodField()

    def get_client_secret(self, client: SmartClient) -> str | None:
        """Return the secret."""
        return str(self.context["secret"]) or None


class SmartClientChange(serializers.Serializer[SmartClient]):
    """What of an app can be changed."""

    name = _Text(max_length=200)
    redirect_uris = serializers.ListField(child=_Text(max_length=2000), max_length=20)
    launch_uri = _Text(max_length=2000, required=False, allow_blank=True)
    scopes = serializers.ListField(child=_Text(max_length=300), max_length=200)
    jwks = serializers.JSONField(required=False, allow_null=True)
    jwks_uri = _Text(max_length=2000, required=False, allow_null=True)


class SmartClientCreation(SmartClientChange):
    """A new app, of the caller's project or the one named."""

    client_type = serializers.ChoiceField(choices=SmartClient.Kind.choices)
    project_id = _Text(max_length=40, required=False, allow_null=True)


class LaunchCreation(serializers.Serializer[object]):
    """The context in which an app opens."""

    patient = _Text(max_length=64, required=False)
    encounter = _Text(max_length=64, required=False)
    intent = _Text(max_length=200, required=False)
    need_patient_banner = serializers.BooleanField(required=False, default=True)


class LaunchAnswer(serializers.Serializer[object]):
    """A launch, good once and for five minutes: open `launch_url` in the person's browser."""

    object = ConstantField("smart_launch")
    launch = _Text()
    launch_url = _Text(source="url")
    iss = _Text()
    expires_at = serializers.DateTimeField()


class GrantAnswer(serializers.Serializer[SmartGrant]):
    """What a person granted an app."""

    id = _Text()
    object = ConstantField("smart_grant")
    client_id = _Text(source="key_id")
    user_id = _Text()
    scopes = serializers.ListField(child=_Text())
    revoked_at = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()


class ClientView(OrganizationView):
    """A view about the apps of the caller's environment, and of its project if it has one."""

    def refuse_token(self) -> None:
        """Refuse to give a lasting secret for a token, which was lent for an hour."""
        if token_expiry(self.request._request) is not None:
            raise Forbidden("A token can't make or change clients. Send the API key itself.")

    def rows(self) -> Any:  # noqa: ANN401  # a queryset
        """Return the apps that the caller may see."""
        found = clients.clients_of(self.organization_id, self.principal.environment)
        if self.scope.project_id is not None:
            found = found.filter(key__project_id=self.scope.project_id)
        return found

    def find(self, client_id: str) -> SmartClient:
        """Return one of them; raise ClientNotFound for any other id."""
        with public_scope():
            client: SmartClient | None = self.rows().filter(pk=client_id).first()
        if client is None:
            raise clients.ClientNotFound(client_id)
        return client

    def represent(self, client: SmartClient) -> dict[str, object]:
        """Return an app without its secret."""
        return dict(SmartClientAnswer(client).data)

    def represent_issued(self, issued: clients.IssuedClient) -> dict[str, object]:
        """Return an app with its secret, this once."""
        return dict(IssuedClientAnswer(issued.client, context={"secret": issued.secret}).data)


class SmartClients(ClientView):
    """Apps of the caller's environment."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "keys:write", "POST": "keys:write"}

    @extend_schema(responses=SmartClientAnswer(many=True))
    def get(self, request: Request) -> Response:
        """List apps, ended ones too, newest first."""
        return Response(self.page(self.rows(), self.represent, ("-key_id",)))

    @extend_schema(request=SmartClientCreation, responses={201: IssuedClientAnswer})
    def post(self, request: Request) -> Response:
        """Register an app; the `client_secret` of a confidential-symmetric one is told this once.

        `scopes` are the most that a person can grant it, such as `launch/patient`, `openid`,
        `fhirUser`, `offline_access` and `patient/*.rs`.
        """
        self.refuse_token()
        data = self.validated(SmartClientCreation)
        issued = clients.register_client(
            environment=self.environment(),
            **self._named(data),
            redirect_uris=data["redirect_uris"],
            launch_uri=data.get("launch_uri", ""),
            scopes=data["scopes"],
            jwks=data.get("jwks"),
            jwks_uri=data.get("jwks_uri"),
            grantable=self.principal.scopes,
            actor=self.actor,
            now=self.now,
        )
        return Response(self.represent_issued(issued), status=201)

    def _named(self, data: Mapping[str, Any]) -> dict[str, str]:
        project_id = data.get("project_id") or self.scope.project_id
        if project_id is None:
            raise BadRequest("Name the project whose records the app is for.", param="project_id")
        return {"name": data["name"], "kind": data["client_type"], "project_id": project_id}


class SmartClientDetail(ClientView):
    """One app."""

    required_scopes: ClassVar[Mapping[str, str]] = {
        "GET": "keys:write",
        "PATCH": "keys:write",
        "DELETE": "keys:write",
    }

    @extend_schema(responses=SmartClientAnswer)
    def get(self, request: Request, client_id: str) -> Response:
        """Read an app."""
        return Response(self.represent(self.find(client_id)))

    @extend_schema(request=SmartClientChange(partial=True), responses=SmartClientAnswer)
    def patch(self, request: Request, client_id: str) -> Response:
        """Change name, addresses, scopes or keys of an app."""
        self.refuse_token()
        self.find(client_id)
        changed = clients.update_client(
            environment=self.environment(),
            client_id=client_id,
            changes=self.validated(SmartClientChange, partial=True),
            grantable=self.principal.scopes,
            actor=self.actor,
            now=self.now,
        )
        return Response(self.represent(changed))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, client_id: str) -> Response:
        """End an app: its tokens are refused from the next request on."""
        self.find(client_id)
        clients.revoke_client(
            environment=self.environment(), client_id=client_id, actor=self.actor, now=self.now
        )
        return Response(status=204)


class SmartClientSecret(ClientView):
    """The secret of an app."""

    required_scopes: ClassVar[Mapping[str, str]] = {"POST": "keys:write"}

    @extend_schema(request=None, responses=IssuedClientAnswer)
    def post(self, request: Request, client_id: str) -> Response:
        """Give a confidential-symmetric app a new secret, told this once; the old one ends."""
        self.refuse_token()
        self.find(client_id)
        issued = clients.rotate_secret(
            environment=self.environment(), client_id=client_id, actor=self.actor, now=self.now
        )
        return Response(self.represent_issued(issued))


class SmartLaunches(ClientView):
    """Launches of an app."""

    required_scopes: ClassVar[Mapping[str, str]] = {"POST": "fhir:read"}

    @extend_schema(request=LaunchCreation, responses={201: LaunchAnswer})
    def post(self, request: Request, client_id: str) -> Response:
        """Make a launch in a context; whoever opens its address signs in and grants."""
        issued = launches.create_launch(
            client=self.find(client_id),
            context=self.validated(LaunchCreation),
            user_id=self.principal.user_id,
            actor=self.actor,
            now=self.now,
        )
        return Response(dict(LaunchAnswer(issued).data), status=201)


class SmartGrants(ClientView):
    """What people granted an app."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "keys:write"}

    @extend_schema(responses=GrantAnswer(many=True))
    def get(self, request: Request, client_id: str) -> Response:
        """List grants, revoked ones too, newest first."""
        self.find(client_id)
        rows = SmartGrant.objects.filter(key_id=client_id)
        return Response(self.page(rows, lambda grant: dict(GrantAnswer(grant).data)))


class SmartGrantDetail(ClientView):
    """One grant."""

    required_scopes: ClassVar[Mapping[str, str]] = {"DELETE": "keys:write"}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, grant_id: str) -> Response:
        """Revoke a grant: its tokens are refused from the next request on."""
        with public_scope():
            grant = grants.find_grant(grant_id)
        if grant is None or not self.rows_include(grant):
            raise NotFound(f"There is no grant `{grant_id}` here.")
        grants.revoke_grant(grant, reason="revoked over the API", now=self.now)
        return Response(status=204)

    def rows_include(self, grant: SmartGrant) -> bool:
        """Tell whether a grant is one to an app that the caller may see."""
        with public_scope():
            return bool(self.rows().filter(pk=grant.key_id).exists())
