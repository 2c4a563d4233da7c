"""Who asked for a Subscription, with whose rights it ends."""

from django.db import migrations


class Migration(migrations.Migration):
    """The actor of each Subscription."""

    dependencies = [("fhir", "0010_consent")]
    operations = [
        migrations.RunSQL(
            [
                "ALTER TABLE fhir_subscription ADD COLUMN actor_kind text NOT NULL DEFAULT '',"
                " ADD COLUMN actor_id text NOT NULL DEFAULT ''",
            ],
            ["ALTER TABLE fhir_subscription DROP COLUMN actor_kind, DROP COLUMN actor_id"],
        ),
    ]
