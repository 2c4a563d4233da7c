"""How many resources each project holds, for `GET /v1/usage`."""

from django.db import connection

_CURRENT = "SELECT project, count(*) FROM fhir_resource GROUP BY project"


def count_resources() -> dict[int, int]:
    """Return resources, deleted ones included, by project number of the active tenant."""
    with connection.cursor() as cursor:
        cursor.execute(_CURRENT)
        return dict(cursor.fetchall())
