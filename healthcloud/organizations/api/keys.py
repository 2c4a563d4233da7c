"""/v1/api-keys and /v1/auth/token."""

from collections.abc import Mapping
from typing import ClassVar, cast

from django.db.models import QuerySet
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.errors import Forbidden
from healthcloud.organizations import queries, services
from healthcloud.organizations.api.base import OrganizationView
from healthcloud.organizations.api.serializers import (
    ApiKeyAnswer,
    ApiKeyCreation,
    IssuedKeyAnswer,
    TokenAnswer,
    TokenRequest,
)
from healthcloud.organizations.authentication import TOKEN_LIFE, issue_token, token_expiry
from healthcloud.organizations.models import ApiKey
from healthcloud.organizations.services.keys import check_scopes
from healthcloud.tenancy.scope import public_scope


class KeyView(OrganizationView):
    """A view about keys of the caller's environment, and of its project if it has one."""

    def keys(self) -> QuerySet[ApiKey]:
        """Return the keys that the caller may see."""
        rows = queries.keys_of(self.organization_id, self.principal.environment)
        if self.scope.project_id is not None:
            rows = rows.filter(project_id=self.scope.project_id)
        return rows.select_related("environment")

    def find(self, key_id: str) -> ApiKey:
        """Return one of them; raise KeyNotFound for any other id."""
        with public_scope():
            key = self.keys().filter(pk=key_id).first()
        if key is None:
            raise services.KeyNotFound(f"There is no API key `{key_id}` here.")
        return key

    def refuse_token(self) -> None:
        """Refuse to give a lasting key for a token, which was lent for an hour."""
        if token_expiry(self.request._request) is not None:
            raise Forbidden("A token can't make or rotate keys. Send the API key itself.")

    def represent(self, key: ApiKey) -> dict[str, object]:
        """Return a key without its secret."""
        return dict(ApiKeyAnswer(key, context={"now": self.now}).data)

    def represent_issued(self, issued: services.IssuedKey) -> dict[str, object]:
        """Return a key with its secret, this once."""
        context = {"now": self.now, "secret": issued.secret}
        return dict(IssuedKeyAnswer(issued.key, context=context).data)


class ApiKeys(KeyView):
    """Keys of the caller's environment."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "keys:write", "POST": "keys:write"}

    @extend_schema(responses=ApiKeyAnswer(many=True))
    def get(self, request: Request) -> Response:
        """List keys, revoked ones too, newest first; secrets are never shown."""
        return Response(self.page(self.keys(), self.represent))

    @extend_schema(request=ApiKeyCreation, responses={201: IssuedKeyAnswer})
    def post(self, request: Request) -> Response:
        """Create a key; its `secret` is answered this once.

        With `jwks`, the client's public keys, or `jwks_uri`, where it publishes them, it has none:
        its `id` is the `client_id` of SMART Backend Services, and tokens come from /oauth/token for
        signed assertions.
        """
        self.refuse_token()
        data = self.validated(ApiKeyCreation)
        issued = services.create_api_key(
            environment=self.environment(),
            name=str(data["name"]),
            scopes=self._scopes_of_key(data),
            project_id=self._project_of_key(data),
            allowed_addresses=cast("list[str]", data.get("allowed_addresses") or []),
            grantable=self.principal.scopes,
            **{name: data.get(name) for name in ("expires_at", "jwks", "jwks_uri")},
            actor=self.actor,
            now=self.now,
        )
        return Response(self.represent_issued(issued), status=201)

    def _scopes_of_key(self, data: Mapping[str, object]) -> list[str]:
        wanted = data.get("scopes")
        return sorted(self.principal.scopes) if wanted is None else cast("list[str]", wanted)

    def _project_of_key(self, data: Mapping[str, object]) -> str | None:
        own = self.principal.project_id
        if own is not None and "project_id" in data and data["project_id"] is None:
            raise Forbidden(
                "This key belongs to one project and can't create an organization-wide key.",
                param="project_id",
            )
        return own if own is not None else cast("str | None", data.get("project_id"))


class ApiKeyDetail(KeyView):
    """One key."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "keys:write", "DELETE": "keys:write"}

    @extend_schema(responses=ApiKeyAnswer)
    def get(self, request: Request, key_id: str) -> Response:
        """Read a key without its secret."""
        return Response(self.represent(self.find(key_id)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke a key."""
        key = self.find(key_id)
        services.revoke_api_key(
            environment=key.environment, key_id=key.id, actor=self.actor, now=self.now
        )
        return Response(status=204)


class ApiKeyRotate(KeyView):
    """Rotating a key."""

    required_scopes: ClassVar[Mapping[str, str]] = {"POST": "keys:write"}

    @extend_schema(request=None, responses=IssuedKeyAnswer)
    def post(self, request: Request, key_id: str) -> Response:
        """Give a key a new secret, answered this once; the old one stays valid for 24 hours."""
        self.refuse_token()
        key = self.find(key_id)
        issued = services.rotate_api_key(
            environment=key.environment,
            key_id=key.id,
            grantable=self.principal.scopes,
            actor=self.actor,
            now=self.now,
        )
        return Response(self.represent_issued(issued))


class ApiKeyRevoke(KeyView):
    """Revoking a key."""

    required_scopes: ClassVar[Mapping[str, str]] = {"POST": "keys:write"}

    @extend_schema(request=None, responses=ApiKeyAnswer)
    def post(self, request: Request, key_id: str) -> Response:
        """Revoke a key: the next request with it is refused, on every process."""
        key = self.find(key_id)
        revoked = services.revoke_api_key(
            environment=key.environment, key_id=key.id, actor=self.actor, now=self.now
        )
        return Response(self.represent(revoked))


class AuthToken(OrganizationView):
    """Short-lived tokens."""

    required_scopes: ClassVar[Mapping[str, str]] = {"POST": "*"}
    idempotent: ClassVar[frozenset[str]] = frozenset()
    narrowable: ClassVar[bool] = True

    @extend_schema(request=TokenRequest, responses=TokenAnswer)
    def post(self, request: Request) -> Response:
        """Exchange a key for a token of an hour, with some or all of the key's scopes.

        A token may be exchanged for a narrower one, which expires with it.
        """
        if self.principal.key_id is None or self.principal.client_id is not None:
            raise Forbidden("Tokens are made from API keys; send one in `Authorization`.")
        wanted = cast("list[str] | None", self.validated(TokenRequest).get("scope"))
        held = self.principal.scopes
        scopes = frozenset(check_scopes(wanted, grantable=held)) if wanted else held
        lent_until = token_expiry(request._request)
        expires_at = min(self.now + TOKEN_LIFE, lent_until or self.now + TOKEN_LIFE)
        token = issue_token(self.principal, scopes=scopes, now=self.now, expires_at=expires_at)
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int((expires_at - self.now).total_seconds()),
            "scope": " ".join(sorted(scopes)),
        }
        return Response(answer)
