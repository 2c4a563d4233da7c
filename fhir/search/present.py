"""Which types of resources a project has."""

from typing import Final

from fhir.definitions import type_name
from fhir.sql import fetch
from healthcloud.tenancy.scope import active_project

# The types one after the other, each found by its first row.
_TYPES: Final = """
WITH RECURSIVE known(rtype) AS (
    (SELECT rtype FROM fhir_resource WHERE project = %s::integer ORDER BY rtype LIMIT 1)
    UNION ALL
    SELECT (SELECT r.rtype FROM fhir_resource r WHERE r.project = %s::integer
        AND r.rtype > known.rtype ORDER BY r.rtype LIMIT 1)
    FROM known WHERE known.rtype IS NOT NULL
) SELECT rtype FROM known
"""


def present_types() -> list[str]:
    """Return the types of which the scope's project has resources."""
    _, project = active_project()
    return [type_name(row[0]) for row in fetch(_TYPES, (project, project)) if row[0] is not None]
