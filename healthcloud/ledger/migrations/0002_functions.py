"""Claiming and finishing as functions: planned once a session, and finished by the tenant itself.

A claim is one call, whose plan the session keeps. A tenant's role can't touch the ledger, but may
finish the work that it holds, by its token, in the transaction of the work's last write.
"""

from typing import ClassVar

from django.db import migrations

# A loose index scan over the tenants of a queue, rotated to begin after the last one served; the
# lateral join then stops at the first tenant that has room and due work. `more` says whether
# anything else is due, so that a worker that took the last piece need not ask again.
CLAIM = """
CREATE FUNCTION public.ledger_claim(
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
           AND w.visible_at <= clock_timestamp() + make_interval(secs => p_ahead)
           AND (SELECT count(*) FROM public.ledger_duework r
                 WHERE r.environment_id = turns.environment_id AND r.state = 'running'
                   AND r.lease_until > clock_timestamp()) < p_cap
         ORDER BY w.visible_at, w.id LIMIT 1 FOR UPDATE SKIP LOCKED) due
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
# Answers whether the work has to be looked at once more, since someone rang for it meanwhile;
# null when it is in other hands.
FINISH = """
CREATE FUNCTION public.ledger_finish(p_id bigint, p_token bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    caller text := current_setting('role');
    again boolean;
BEGIN
    DELETE FROM ledger_duework
     WHERE id = p_id AND token = p_token AND state = 'running' AND rung_at IS NULL
       AND caller IN ('none', schema);
    IF FOUND THEN
        RETURN false;
    END IF;
    UPDATE ledger_duework
       SET state = 'ready', due_at = rung_at, lease_until = NULL, rung_at = NULL, attempts = 0,
           last_error = ''
     WHERE id = p_id AND token = p_token AND state = 'running' AND caller IN ('none', schema)
    RETURNING true INTO again;
    RETURN again;
END $$;
"""
# For statements that nobody waits for: without the row they were to change, nothing is committed.
HOLD = """
CREATE FUNCTION public.must_hold(p_rows bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_rows = 0 THEN
        RAISE 'the row is in other hands' USING ERRCODE = 'HC001';
    END IF;
END $$;
"""


class Migration(migrations.Migration):
    dependencies: ClassVar = [("ledger", "0001_initial")]

    operations: ClassVar = [
        migrations.RunSQL(CLAIM, "DROP FUNCTION public.ledger_claim"),
        migrations.RunSQL(FINISH, "DROP FUNCTION public.ledger_finish"),
        migrations.RunSQL(HOLD, "DROP FUNCTION public.must_hold"),
    ]
