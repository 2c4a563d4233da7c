"""The settings that a transaction carries in the database while it works for a tenant."""

from dataclasses import dataclass
from typing import Final

ALL_PROJECTS: Final = "*"
ALL_PROJECT_NUMBERS: Final = 0


def narrowed_role(schema: str) -> str:
    """Return the tenant's role on which the policies that narrow its sight are binding."""
    return f"{schema}_narrow"


@dataclass(frozen=True, slots=True)
class Context:
    """Search path, role and row-level-security settings of one transaction.

    `project` is a project id, `*` for all projects of the organization, or empty for none;
    `project_number` likewise with 0 for all and -1 for none.
    """

    schema: str
    role: str
    project: str
    project_number: int
    environment: str

    @classmethod
    def public(cls) -> "Context":
        """Return the context of the public schema, in which no tenant's table can be reached."""
        return cls("public", "none", "", -1, "")

    def parameters(self) -> tuple[str, ...]:
        """Return the values in the order in which the backend sets them."""
        path = "public" if self.schema == "public" else f'"{self.schema}", public'
        return (path, self.role, self.project, str(self.project_number), self.environment)
