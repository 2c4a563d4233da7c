"""Work is claimed in the order in which it fell due; what a dead worker left stands first in it.

By the end of its lease, left work would stand behind everything that fell due meanwhile, and be
taken over only after that.
"""

from typing import ClassVar

from django.db import migrations, models

CLAIM = """
CREATE OR REPLACE FUNCTION public.ledger_claim(
    p_queue text, p_after text, p_lease double precision, p_cap integer, p_ahead double precision
) RETURNS TABLE (
    id bigint, organization_id varchar, environment_id varchar, environment varchar,
    schema varchar, project_id varchar, project_number integer, kind varchar, ref varchar,
    token bigint, attempts integer, now timestamptz, more boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
RETURN QUERY WITH RECURSIVE tenants(environment_id) AS (
    (SELECT w.environment_id FROM public.ledger_duework w
      WHERE w.queue = p_queue AND w.state <> 'dead' ORDER BY w.environment_id LIMIT 1)
    UNION ALL
    SELECT (SELECT w.environment_id FROM public.ledger_duework w
             WHERE w.queue = p_queue AND w.state <> 'dead'
               AND w.environment_id > tenants.environment_id
             ORDER BY w.environment_id LIMIT 1)
      FROM tenants WHERE tenants.environment_id IS NOT NULL
), turns AS MATERIALIZED (
    SELECT tenants.environment_id FROM tenants WHERE tenants.environment_id IS NOT NULL
     ORDER BY tenants.environment_id <= p_after, tenants.environment_id
), picked AS MATERIALIZED (
    SELECT due.id FROM turns CROSS JOIN LATERAL (
        SELECT w.id FROM public.ledger_duework w
         WHERE w.queue = p_queue AND w.environment_id = turns.environment_id
           AND w.state <> 'dead'
           AND w.due_at <= clock_timestamp() + make_interval(secs => p_ahead)
           AND (w.lease_until IS NULL
                OR w.lease_until <= clock_timestamp() + make_interval(secs => p_ahead))
           AND (SELECT count(*) FROM public.ledger_duework r
                 WHERE r.environment_id = turns.environment_id AND r.state = 'running'
                   AND r.lease_until > clock_timestamp()) < p_cap
         ORDER BY w.due_at, w.id LIMIT 1 FOR UPDATE SKIP LOCKED) due
     LIMIT 1
)
UPDATE public.ledger_duework claimed
   SET state = 'running', token = nextval('public.ledger_token'), attempts = claimed.attempts + 1,
       lease_until = clock_timestamp() + make_interval(secs => p_lease), rung_at = NULL
  FROM picked WHERE claimed.id = picked.id
RETURNING claimed.id, claimed.organization_id, claimed.environment_id, claimed.environment,
          claimed.schema, claimed.project_id, claimed.project_number, claimed.kind, claimed.ref,
          claimed.token, claimed.attempts, clock_timestamp() + make_interval(secs => p_ahead),
          EXISTS (SELECT FROM public.ledger_duework other
                   WHERE other.queue = p_queue AND other.state <> 'dead'
                     AND other.id <> claimed.id
                     AND other.visible_at <= clock_timestamp() + make_interval(secs => p_ahead));
END $$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("ledger", "0002_functions")]

    operations: ClassVar = [
        migrations.RemoveIndex("duework", "ledger_claim"),
        migrations.AddIndex(
            "duework",
            models.Index(
                fields=["queue", "environment_id", "due_at", "id"],
                condition=~models.Q(state="dead"),
                name="ledger_claim",
            ),
        ),
        migrations.RunSQL(CLAIM, migrations.RunSQL.noop),
    ]
