"""Asynchronous jobs: exports, imports and requests with `Prefer: respond-async`."""

from django.db import migrations

from healthcloud.tenancy.operations import ProjectIsolation

# `position` is where a job goes on after a crash, written in the transaction of what it did.
# `scopes` are what a caller must hold to see a job and its files. A file is one row: a part of
# the output that was written by one transaction.
TABLES = [
    """
    CREATE TABLE fhir_job (
        id text COLLATE "C" PRIMARY KEY,
        project integer NOT NULL,
        kind text NOT NULL,
        state text NOT NULL,
        created timestamp with time zone NOT NULL,
        updated timestamp with time zone NOT NULL,
        expires timestamp with time zone NOT NULL,
        actor text NOT NULL,
        scopes text NOT NULL,
        request text NOT NULL,
        position text NOT NULL DEFAULT '{}',
        progress text NOT NULL DEFAULT '',
        status integer NOT NULL DEFAULT 200,
        result text
    )
    """,
    "CREATE INDEX fhir_job_project ON fhir_job (project, created)",
    """
    CREATE TABLE fhir_job_file (
        job text COLLATE "C" NOT NULL REFERENCES fhir_job (id) ON DELETE CASCADE,
        project integer NOT NULL,
        number integer NOT NULL,
        count integer NOT NULL,
        role text NOT NULL,
        type text NOT NULL,
        content text NOT NULL,
        PRIMARY KEY (job, number)
    )
    """,
]


class Migration(migrations.Migration):
    """The tables of jobs."""

    dependencies = [("fhir", "0004_terminology")]
    operations = [
        migrations.RunSQL(TABLES, ["DROP TABLE fhir_job_file", "DROP TABLE fhir_job"]),
        *(
            ProjectIsolation(table, column="project", number=True)
            for table in ("fhir_job", "fhir_job_file")
        ),
    ]
