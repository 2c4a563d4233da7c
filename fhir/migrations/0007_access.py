"""Who read what: one row for each access that writes nothing, denials included."""

from django.db import migrations

from healthcloud.tenancy.operations import AppendOnly, ProjectIsolation

TABLES = [
    """
    CREATE TABLE fhir_access (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamp with time zone NOT NULL,
        project integer NOT NULL,
        interaction text NOT NULL,
        outcome text NOT NULL,
        rtype text NOT NULL,
        rid text NOT NULL,
        query text NOT NULL,
        purpose text NOT NULL,
        actor_kind text NOT NULL,
        actor_id text NOT NULL,
        actor_label text NOT NULL,
        request_id text NOT NULL
    )
    """,
    "CREATE INDEX fhir_access_at ON fhir_access (project, at DESC, id DESC)",
]


class Migration(migrations.Migration):
    """The table of accesses."""

    dependencies = [("fhir", "0006_subscriptions")]
    operations = [
        migrations.RunSQL(TABLES, ["DROP TABLE fhir_access"]),
        ProjectIsolation("fhir_access", column="project", number=True),
        AppendOnly("fhir_access"),
    ]
