"""What runs Subscriptions: their state, and the numbered notifications of each."""

from django.db import migrations

from healthcloud.tenancy.operations import ProjectIsolation

TABLES = [
    """
    CREATE TABLE fhir_subscription (
        project integer NOT NULL,
        rid text COLLATE "C" NOT NULL,
        status text NOT NULL,
        definition text NOT NULL,
        started timestamp with time zone NOT NULL,
        notified timestamp with time zone,
        events bigint NOT NULL DEFAULT 0,
        error text NOT NULL DEFAULT '',
        PRIMARY KEY (project, rid)
    )
    """,
    """
    CREATE TABLE fhir_notification (
        project integer NOT NULL,
        subscription text COLLATE "C" NOT NULL,
        number bigint NOT NULL,
        happened timestamp with time zone NOT NULL,
        rtype smallint NOT NULL,
        method smallint NOT NULL,
        version integer NOT NULL,
        rid text COLLATE "C" NOT NULL,
        PRIMARY KEY (project, subscription, number)
    )
    """,
    "CREATE INDEX fhir_notification_happened ON fhir_notification (happened)",
]


class Migration(migrations.Migration):
    """Tables of Subscriptions."""

    dependencies = [("fhir", "0005_jobs")]
    operations = [
        migrations.RunSQL(TABLES, ["DROP TABLE fhir_notification", "DROP TABLE fhir_subscription"]),
        ProjectIsolation("fhir_subscription", column="project", number=True),
        ProjectIsolation("fhir_notification", column="project", number=True),
    ]
