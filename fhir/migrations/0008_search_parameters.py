"""Search parameters that projects add."""

from django.db import migrations

from healthcloud.tenancy.operations import ProjectIsolation

# `generation` is another number after every change of the project's parameters: a write is
# refused whose rows were indexed by another state. A project that never had one has no row.
TABLES = [
    """
    CREATE TABLE fhir_parameter_state (
        project integer PRIMARY KEY,
        generation bigint NOT NULL
    )
    """,
    """
    CREATE TABLE fhir_search_parameter (
        project integer NOT NULL,
        rid text COLLATE "C" NOT NULL,
        state text NOT NULL,
        job text NOT NULL,
        stamp bigint NOT NULL,
        definition text NOT NULL,
        PRIMARY KEY (project, rid)
    )
    """,
]


class Migration(migrations.Migration):
    """Tables of added search parameters."""

    dependencies = [("fhir", "0007_access")]
    operations = [
        migrations.RunSQL(
            TABLES, ["DROP TABLE fhir_search_parameter", "DROP TABLE fhir_parameter_state"]
        ),
        ProjectIsolation("fhir_parameter_state", column="project", number=True),
        ProjectIsolation("fhir_search_parameter", column="project", number=True),
    ]
