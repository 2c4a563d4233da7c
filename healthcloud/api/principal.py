"""Who makes a request, for which organization, environment and project, and what they may do."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

from healthcloud.actors import Actor
from healthcloud.api import scopes
from healthcloud.errors import BadRequest, Forbidden, NotFound
from healthcloud.tenancy.pipeline import Statement
from healthcloud.tenancy.scope import Scope

ALL_SCOPES: Final = (
    "fhir:read",
    "fhir:write",
    "fhir:break-glass",
    "assets:read",
    "assets:write",
    "deployments:write",
    "agents:run",
    "workflows:read",
    "workflows:write",
    "workflows:run",
    "events:read",
    "webhooks:write",
    "keys:write",
    "org:admin",
    "audit:read",
)

ANY_SCOPE: Final = "*"
"""Declared by a view that any valid credential may call."""


@dataclass(frozen=True, slots=True)
class ProjectReference:
    """A project as the kit needs it: its id, its number in row-level security, and its state."""

    id: str
    number: int
    archived: bool = False
    profiles: str | None = None
    """The setting by which clinical writes are checked; None: not looked up."""
    enforces_consent: bool = False


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: `per_minute` requests in the long run, `burst` at once."""

    per_minute: int
    burst: int


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, bound to one organization and one of its environments.

    `project` is the only project the caller may touch, or None for every project of the
    organization; `find_project` looks a project of that organization up by id. `patient` is the
    id of the patient for whom an app was launched, whom its `patient/` scopes mean; `client_id` is
    that app, whose tokens are good for the FHIR API only.
    """

    actor: Actor
    organization_id: str
    environment: str
    environment_id: str
    schema: str
    project: ProjectReference | None
    scopes: frozenset[str]
    key_id: str | None = None
    user_id: str | None = None
    role: str | None = None
    rate_limit: RateLimit | None = None
    run_limit: RateLimit | None = None
    """How many runs of workflows the organization's plan starts, in this environment."""
    patient: str | None = None
    client_id: str | None = None
    fhir_user: str | None = None
    find_project: Callable[[str], ProjectReference | None] | None = field(
        default=None, compare=False, repr=False
    )
    guard: Callable[[ProjectReference | None], Statement] | None = field(
        default=None, compare=False, repr=False
    )
    """Makes the condition under which a caller who was remembered may still act in a project."""

    is_authenticated: ClassVar[bool] = True
    is_active: ClassVar[bool] = True

    @property
    def pk(self) -> str:
        """Return the actor's id, by which Django REST framework names a caller."""
        return self.actor.id

    @property
    def project_id(self) -> str | None:
        """Return the id of the only project the caller may touch, or None."""
        return self.project.id if self.project else None

    @property
    def project_number(self) -> int | None:
        """Return the number of the only project the caller may touch, or None."""
        return self.project.number if self.project else None

    def can(self, scope: str) -> bool:
        """Tell whether the caller holds a scope; `fhir:read` includes `Observation:read`."""
        if scope == ANY_SCOPE or scope in self.scopes:
            return True
        resource, _, access = scope.partition(":")
        if resource[:1].isupper() and f"fhir:{access}" in self.scopes:
            return True
        clinical = scopes.parse_scope(scope)
        if clinical is not None:
            return scopes.common(self.scopes, scope) == {scope}
        return scopes.grants_coarsely(self.scopes, scope)

    def may(self, resource_type: str, verb: str) -> bool:
        """Tell whether the caller may do one of `cruds` to a type (`*`: to every type)."""
        access = scopes.coarse_of(verb)
        if f"fhir:{access}" in self.scopes or f"{resource_type}:{access}" in self.scopes:
            return True
        return scopes.grants(self.scopes, resource_type, verb)

    def resolve_project(self, project_id: str | None) -> ProjectReference | None:
        """Return the project meant: the caller's own, or a project of the organization.

        Raises NotFound for a project of another organization and Forbidden for a project of
        this organization to which the credential is not bound.
        """
        if project_id is None or project_id == self.project_id:
            return self.project
        found = self.find_project(project_id) if self.find_project else None
        if found is None:
            raise NotFound(f"There is no project `{project_id}` here.", param="project_id")
        if self.project is not None:
            raise Forbidden(
                f"This key belongs to project `{self.project.id}` and can't be used for"
                f" `{project_id}`. Use a key of that project or an organization-wide key.",
                param="project_id",
            )
        return found

    def scope(self, project_id: str | None = None) -> Scope:
        """Return the tenant scope for a project, or for all projects when none is meant."""
        return self.scope_of(self.resolve_project(project_id))

    def scope_of(self, project: ProjectReference | None) -> Scope:
        """Return the tenant scope for a project that was resolved before."""
        return Scope(
            organization_id=self.organization_id,
            environment_id=self.environment_id,
            environment=self.environment,
            schema=self.schema,
            project_id=project.id if project else None,
            project_number=project.number if project else None,
            profiles=project.profiles if project else None,
        )

    def narrowed(self, wanted: frozenset[str]) -> "Principal":
        """Return the same caller with those of the scopes, or parts of them, that they hold."""
        held = {scope for scope in wanted if self.can(scope)}
        parts = {part for scope in wanted - held for part in scopes.common(self.scopes, scope)}
        return replace(self, scopes=frozenset(held | parts))

    @property
    def is_narrowed(self) -> bool:
        """Tell whether a scope leaves out resources of its type: the database then does, too."""
        return any(scopes.is_narrowed(scope) for scope in self.scopes)

    @property
    def launched_for(self) -> tuple[str, ...]:
        """Return app and patient of a launched app, nothing for other callers."""
        return () if self.client_id is None else (self.client_id, self.patient or "")

    def without_narrowed_scopes(self) -> "Principal":
        """Return the same caller for a place that knows no narrower sight than the project's."""
        kept = frozenset(scope for scope in self.scopes if not scopes.is_narrowed(scope))
        return replace(self, scopes=kept)


def require_environment(principal: Principal, named: object) -> None:
    """Refuse a request that names another environment than its credential's.

    Raises BadRequest for a value that is no environment and Forbidden for the other one.
    """
    if named not in ("sandbox", "production"):  # a tuple: what JSON sends may not hash
        raise BadRequest("`environment` is `sandbox` or `production`.", param="environment")
    if named != principal.environment:
        prefix = "hc_live_" if named == "production" else "hc_test_"
        raise Forbidden(
            f"This credential belongs to the {principal.environment} environment and can't act"
            f" on {named}. Use a key that starts with `{prefix}`.",
            param="environment",
        )
