"""Due work, the sequence of fencing tokens, and the function through which work is asked for."""

from typing import ClassVar

import django.db.models.functions.comparison
from django.db import migrations, models

# Tenant roles can't touch the ledger; this function lets them add work for themselves only.
ENQUEUE = """
CREATE FUNCTION public.ledger_enqueue(
    p_organization_id text, p_environment_id text, p_environment text, p_schema text,
    p_project_id text, p_project_number integer, p_kind text, p_ref text, p_queue text,
    p_due_at timestamptz, p_dedupe_key text
) RETURNS SETOF public.ledger_duework
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE moment timestamptz := clock_timestamp();
BEGIN
    IF current_setting('role') NOT IN ('none', p_schema) THEN
        RAISE insufficient_privilege USING MESSAGE = 'a tenant can ask for work of its own only';
    END IF;
    RETURN QUERY
    INSERT INTO ledger_duework AS held (
        organization_id, environment_id, environment, schema, project_id, project_number,
        kind, ref, queue, dedupe_key, state, due_at, token, attempts, last_error, created_at)
    VALUES (
        p_organization_id, p_environment_id, p_environment, p_schema, p_project_id,
        p_project_number, p_kind, p_ref, p_queue, p_dedupe_key, 'ready',
        coalesce(p_due_at, moment), 0, 0, '', moment)
    ON CONFLICT (environment_id, kind, dedupe_key)
        WHERE dedupe_key IS NOT NULL AND NOT (state = 'dead')
    DO UPDATE SET
        due_at = CASE WHEN held.state = 'running' THEN held.due_at
                      ELSE least(held.due_at, excluded.due_at) END,
        rung_at = CASE WHEN held.state = 'running' THEN least(held.rung_at, excluded.due_at) END
    RETURNING held.*;
END $$;
"""


class Migration(migrations.Migration):
    initial = True

    dependencies: ClassVar = []

    operations: ClassVar = [
        migrations.CreateModel(
            name="DueWork",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("organization_id", models.CharField(max_length=40)),
                ("environment_id", models.CharField(max_length=40)),
                ("environment", models.CharField(max_length=16)),
                ("schema", models.CharField(max_length=63)),
                ("project_id", models.CharField(max_length=40, null=True)),
                ("project_number", models.IntegerField(null=True)),
                ("kind", models.CharField(max_length=60)),
                ("ref", models.CharField(max_length=200)),
                (
                    "queue",
                    models.CharField(
                        choices=[
                            ("control", "Control"),
                            ("steps", "Steps"),
                            ("agents", "Agents"),
                            ("webhooks", "Webhooks"),
                            ("bulk", "Bulk"),
                        ],
                        max_length=20,
                    ),
                ),
                ("dedupe_key", models.CharField(max_length=200, null=True)),
                (
                    "state",
                    models.CharField(
                        choices=[("ready", "Ready"), ("running", "Running"), ("dead", "Dead")],
                        default="ready",
                        max_length=8,
                    ),
                ),
                ("due_at", models.DateTimeField()),
                ("lease_until", models.DateTimeField(null=True)),
                ("rung_at", models.DateTimeField(null=True)),
                (
                    "visible_at",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.functions.comparison.Coalesce(
                            "lease_until", "due_at"
                        ),
                        output_field=models.DateTimeField(),
                    ),
                ),
                ("token", models.BigIntegerField(default=0)),
                ("attempts", models.IntegerField(default=0)),
                ("last_error", models.CharField(default="", max_length=200)),
                ("created_at", models.DateTimeField()),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "dead"), _negated=True),
                        fields=["queue", "environment_id", "visible_at", "id"],
                        name="ledger_claim",
                    ),
                    models.Index(
                        condition=models.Q(("state", "dead"), _negated=True),
                        fields=["visible_at"],
                        name="ledger_sweep",
                    ),
                    models.Index(
                        condition=models.Q(("state", "running")),
                        fields=["environment_id"],
                        name="ledger_running",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(
                            ("dedupe_key__isnull", False),
                            models.Q(("state", "dead"), _negated=True),
                        ),
                        fields=("environment_id", "kind", "dedupe_key"),
                        name="ledger_dedupe",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lease_until__isnull", False), ("state", "running")),
                            models.Q(
                                models.Q(("state", "running"), _negated=True),
                                ("lease_until__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="ledger_running_has_lease",
                    ),
                ],
            },
        ),
        migrations.RunSQL(
            "CREATE SEQUENCE public.ledger_token",
            "DROP SEQUENCE public.ledger_token",
        ),
        migrations.RunSQL(ENQUEUE, "DROP FUNCTION public.ledger_enqueue"),
    ]
