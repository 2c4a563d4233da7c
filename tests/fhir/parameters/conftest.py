"""A key of a tenant whose transactions really commit."""

from healthcloud.organizations import keys
from healthcloud.organizations.models import ApiKey
from healthcloud.tenancy.scope import Scope


def key_of(scope: Scope) -> str:
    """Return the text of a new key of a project."""
    secret = keys.generate("sandbox")
    ApiKey.objects.create(
        organization_id=scope.organization_id,
        environment_id=scope.environment_id,
        project_id=scope.project_id,
        name="direct",
        prefix=secret.prefix,
        last4=secret.last4,
        digest=secret.digest,
        scopes=["fhir:read", "fhir:write"],
    )
    return str(secret.text)
