"""A short list of pending tokens: each search reads all of it, before the index itself."""

from django.db import migrations

FORWARDS = ["ALTER INDEX fhir_resource_tokens SET (gin_pending_list_limit = 256)"]
BACKWARDS = ["ALTER INDEX fhir_resource_tokens RESET (gin_pending_list_limit)"]


class Migration(migrations.Migration):
    """How many kilobytes of new tokens wait for the index (docs/decisions/0174)."""

    dependencies = [("fhir", "0012_own_writes")]
    operations = [migrations.RunSQL(FORWARDS, BACKWARDS)]
