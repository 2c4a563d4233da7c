"""Who may do what: the scopes of each role, and the scope of each action."""

from collections.abc import Mapping
from typing import Final

from healthcloud.api.principal import ALL_SCOPES, Principal
from healthcloud.errors import Forbidden

_READER: Final = frozenset({"fhir:read", "assets:read", "workflows:read", "events:read"})
_CLINICIAN: Final = _READER | {"fhir:write", "fhir:break-glass", "workflows:run", "agents:run"}
_DEVELOPER: Final = frozenset(ALL_SCOPES) - {"org:admin", "audit:read", "fhir:break-glass"}

ROLE_SCOPES: Final[Mapping[str, frozenset[str]]] = {
    "owner": frozenset(ALL_SCOPES),
    "admin": frozenset(ALL_SCOPES),
    "developer": _DEVELOPER,
    "clinician": _CLINICIAN,
    "viewer": _READER,
}

ACTION_SCOPES: Final[Mapping[str, str]] = {
    "organization.read": "*",
    "organization.update": "org:admin",
    "project.read": "*",
    "project.create": "org:admin",
    "project.update": "org:admin",
    "member.read": "org:admin",
    "member.update": "org:admin",
    "member.invite": "org:admin",
    "key.read": "keys:write",
    "key.create": "keys:write",
    "key.revoke": "keys:write",
    "usage.read": "*",
    "audit.read": "audit:read",
    "record.read": "fhir:read",
    "record.write": "fhir:write",
    "asset.read": "assets:read",
    "asset.install": "assets:write",
    "asset.configure": "assets:write",
    "deployment.write": "deployments:write",
    "agent.run": "agents:run",
    "workflow.read": "workflows:read",
    "workflow.write": "workflows:write",
    "workflow.run": "workflows:run",
    "task.decide": "workflows:run",
    "event.read": "events:read",
    "webhook.write": "webhooks:write",
}


def scopes_of(role: str) -> frozenset[str]:
    """Return what a role may do; an unknown role may do nothing."""
    return ROLE_SCOPES.get(role, frozenset())


def roles_of(principal: Principal) -> frozenset[str]:
    """Return the roles a caller stands for: a person's own; for a key, those it may do all of."""
    if principal.role is not None:
        return frozenset({principal.role})
    covered = {role for role, scopes in ROLE_SCOPES.items() if scopes <= principal.scopes}
    return frozenset(covered)


def can(principal: Principal, action: str) -> bool:
    """Tell whether a caller may do an action; an action without an entry is denied."""
    scope = ACTION_SCOPES.get(action)
    return scope is not None and principal.can(scope)


def require(principal: Principal, action: str) -> None:
    """Raise Forbidden, naming the missing scope, unless the caller may do the action."""
    if not can(principal, action):
        scope = ACTION_SCOPES.get(action, "nobody has it")
        raise Forbidden(f"This needs the scope `{scope}`.", details={"required_scope": scope})
