"""What was written since a moment: `_since` of a history."""

from django.db import migrations

# History is written in the order of time: a few numbers for each 32 pages tell where to look.
FORWARDS = [
    "CREATE INDEX fhir_history_updated ON fhir_history USING brin (updated)"
    " WITH (pages_per_range = 32)",
]
BACKWARDS = ["DROP INDEX fhir_history_updated"]


class Migration(migrations.Migration):
    """An index that a write hardly touches (docs/decisions/0210)."""

    dependencies = [("fhir", "0014_plain_quantities")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
