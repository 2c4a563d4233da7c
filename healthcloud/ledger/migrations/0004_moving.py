"""Work moves to another queue in the transaction of its owner; a tenant's cap counts a queue.

Work that waits for an answer from outside is held for long, and must not count against the quick
work of the same tenant.
"""

from importlib import import_module
from typing import ClassVar

from django.db import migrations

_BEFORE = import_module("healthcloud.ledger.migrations.0003_due_order").CLAIM
CLAIM = _BEFORE.replace(
    "AND r.lease_until > clock_timestamp()) < p_cap",
    "AND r.queue = p_queue AND r.lease_until > clock_timestamp()) < p_cap",
)
MOVE = """
CREATE FUNCTION public.ledger_move(p_id bigint, p_token bigint, p_queue text, p_keep boolean)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE caller text := current_setting('role');
BEGIN
    UPDATE ledger_duework
       SET queue = p_queue,
           state = CASE WHEN p_keep THEN 'running' ELSE 'ready' END,
           lease_until = CASE WHEN p_keep THEN lease_until END,
           rung_at = CASE WHEN p_keep THEN rung_at END,
           attempts = CASE WHEN p_keep THEN attempts ELSE 0 END
     WHERE id = p_id AND token = p_token AND state = 'running' AND caller IN ('none', schema);
    RETURN FOUND;
END $$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("ledger", "0003_due_order")]

    operations: ClassVar = [
        migrations.RunSQL(CLAIM, _BEFORE),
        migrations.RunSQL(MOVE, "DROP FUNCTION public.ledger_move"),
    ]
