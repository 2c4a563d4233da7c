"""Names of the clinical store's tables; the tables themselves are DDL in `migrations/`.

There are no Django models here: a read is one statement whose stored bytes go out as they are,
and a bundle of any size is written by one statement. `fhir.rows` holds that SQL.
"""

from typing import Final

RESOURCE_TABLE: Final = "fhir_resource"
HISTORY_TABLE: Final = "fhir_history"
DATE_TABLE: Final = "fhir_date"
QUANTITY_TABLE: Final = "fhir_quantity"
STRING_TABLE: Final = "fhir_string"

TABLES: Final = (RESOURCE_TABLE, HISTORY_TABLE, DATE_TABLE, QUANTITY_TABLE, STRING_TABLE)
