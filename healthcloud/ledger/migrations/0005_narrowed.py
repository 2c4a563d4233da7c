"""A tenant's narrowed role asks for work as its role does: writes of apps are told as others are."""

from importlib import import_module
from typing import ClassVar

from django.db import migrations

_BEFORE = import_module("healthcloud.ledger.migrations.0001_initial").ENQUEUE.replace(
    "CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"
)
ENQUEUE = _BEFORE.replace("('none', p_schema)", "('none', p_schema, p_schema || '_narrow')")


class Migration(migrations.Migration):
    dependencies: ClassVar = [("ledger", "0004_moving")]

    operations: ClassVar = [migrations.RunSQL(ENQUEUE, _BEFORE)]
