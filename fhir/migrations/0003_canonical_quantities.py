"""Quantities in UCUM's base units beside those that came, so that 170.2 cm is 1.702 m."""

from django.db import migrations

# `unit` is from here on the dimension where the system is UCUM. A row written before keeps its old
# unit and no canonical bounds until its resource is written again.
FORWARDS = [
    "ALTER TABLE fhir_quantity"
    " ADD COLUMN canonical_low double precision NOT NULL DEFAULT 'NaN',"
    " ADD COLUMN canonical_high double precision NOT NULL DEFAULT 'NaN'",
    "CREATE INDEX fhir_quantity_canonical ON fhir_quantity"
    " (project, rtype, param, unit, canonical_low, canonical_high) WHERE unit <> 0",
]
BACKWARDS = [
    "DROP INDEX fhir_quantity_canonical",
    "ALTER TABLE fhir_quantity DROP COLUMN canonical_low, DROP COLUMN canonical_high",
]


class Migration(migrations.Migration):
    """The canonical bounds of quantities."""

    dependencies = [("fhir", "0002_feed")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
