"""The order of numbers and of quantities without a coded unit, for `_sort`."""

from django.db import migrations

# Most quantities have a unit and stand in fhir_quantity_canonical: these rows are few.
FORWARDS = [
    "CREATE INDEX fhir_quantity_plain ON fhir_quantity (project, rtype, param, canonical_low)"
    " WHERE unit = 0",
]
BACKWARDS = ["DROP INDEX fhir_quantity_plain"]


class Migration(migrations.Migration):
    """An index of what fhir_quantity_canonical leaves out (docs/decisions/0209)."""

    dependencies = [("fhir", "0013_pending_tokens")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
