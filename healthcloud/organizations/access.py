"""From a signed-in person and the address of a page to the scope in which it works."""

from healthcloud.api.principal import Principal
from healthcloud.organizations.models import User
from healthcloud.tenancy.scope import Scope


def scope_for(
    user: User, organization_slug: str, environment: str, project_slug: str | None
) -> tuple[Scope, Principal]:
    """Return scope and principal; NotFound where the person is no member or nothing has that slug."""
    from healthcloud.organizations.authentication import principal_of_member

    principal = principal_of_member(user, organization_slug, environment, project_slug)
    return principal.scope(), principal
