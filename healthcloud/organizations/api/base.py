"""What the views of this room share: the caller's organization, pages read in the public schema."""

from collections.abc import Callable, Sequence
from typing import ClassVar, TypeVar

from django.db.models import Model, QuerySet

from healthcloud.api.pagination import paginate
from healthcloud.api.views import NO_METHODS, WRITES, PlatformView
from healthcloud.errors import Forbidden
from healthcloud.organizations import queries
from healthcloud.organizations.models import Environment
from healthcloud.tenancy.scope import public_scope

Row = TypeVar("Row", bound=Model)
READS_AND_WRITES = WRITES | {"GET", "HEAD"}


class OrganizationView(PlatformView):
    """A view about the organization itself: needs no project, and an archived one may be named."""

    project_required: ClassVar[frozenset[str]] = NO_METHODS
    archived_allowed: ClassVar[frozenset[str]] = READS_AND_WRITES

    @property
    def organization_id(self) -> str:
        """Return the caller's organization."""
        return self.principal.organization_id

    def environment(self) -> Environment:
        """Return the caller's environment."""
        found = queries.find_environment(self.organization_id, self.principal.environment)
        assert found is not None, "the principal was made from it"
        return found

    def page(
        self,
        rows: QuerySet[Row],
        serialize: Callable[[Row], dict[str, object]],
        order: Sequence[str] = ("-created_at", "-id"),
    ) -> dict[str, object]:
        """Return a page of a table of the public schema that tenants can't read."""
        with public_scope():
            return paginate(rows, self.request, serialize=serialize, order=order)

    def require_whole_organization(self) -> None:
        """Refuse a key of one project for what concerns the whole organization."""
        if self.principal.project is not None:
            raise Forbidden(
                "This key belongs to one project. Use an organization-wide key, or Studio."
            )

    @property
    def only_environment(self) -> str | None:
        """Return the id of the environment that a sandbox key is confined to, else None."""
        confined = self.principal.key_id is not None and self.principal.environment == "sandbox"
        return self.principal.environment_id if confined else None

    def require_production_rights(self) -> None:
        """Refuse a sandbox key for what opens production too, such as inviting an owner."""
        if self.only_environment is not None:
            raise Forbidden(
                "Members can reach production, so a sandbox key can't change them. Use a"
                " production key (`hc_live_sk_…`) or Studio."
            )
