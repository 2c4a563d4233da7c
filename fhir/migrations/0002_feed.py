"""The change feed: numbers given by readers, and who is handed every change."""

from django.db import migrations

# `seen` is the snapshot in which history was numbered last and `own` the transaction that did it:
# what that snapshot saw has its number or needs none; what it did not see, and what `own` wrote
# behind `own_seq`, may have none.
TABLES = [
    """
    CREATE TABLE fhir_feed (
        number bigint PRIMARY KEY,
        seq bigint NOT NULL UNIQUE
    )
    """,
    """
    CREATE TABLE fhir_feed_state (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        last bigint NOT NULL DEFAULT 0,
        last_seq bigint NOT NULL DEFAULT 0,
        seen pg_snapshot NOT NULL DEFAULT '1:1:',
        own xid8 NOT NULL DEFAULT '1',
        own_seq bigint NOT NULL DEFAULT 0
    )
    """,
    """
    CREATE TABLE fhir_consumer (
        name text COLLATE "C" PRIMARY KEY,
        number bigint NOT NULL
    )
    """,
]


class Migration(migrations.Migration):
    """Tables of the change feed."""

    dependencies = [("fhir", "0001_initial")]
    operations = [
        migrations.RunSQL(
            TABLES,
            [
                "DROP TABLE fhir_consumer",
                "DROP TABLE fhir_feed_state",
                "DROP TABLE fhir_feed",
            ],
        ),
    ]
