"""Workflows, versions, runs, steps, tasks and signals, each isolated by project."""

import django.db.models.deletion
from django.db import migrations, models

import workflows.models
from healthcloud.tenancy.operations import AppendOnly, ProjectIsolation


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Workflow",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.workflow_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("slug", models.CharField(max_length=63)),
                ("name", models.CharField(max_length=200)),
                ("description", models.TextField(default="")),
                ("draft", models.JSONField()),
                ("revision", models.IntegerField(default=1)),
                ("published_number", models.IntegerField(null=True)),
                ("source", models.CharField(blank=True, default="", max_length=100)),
                ("metadata", models.JSONField(default=dict)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("deleted_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("deleted_at__isnull", True)),
                        fields=("project_id", "slug"),
                        name="workflow_slug_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="WorkflowVersion",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.version_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("number", models.IntegerField()),
                ("definition", models.JSONField()),
                ("digest", models.CharField(max_length=64)),
                ("notes", models.TextField(default="")),
                ("published_by", models.JSONField()),
                ("published_at", models.DateTimeField()),
                (
                    "workflow",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="versions",
                        to="workflows.workflow",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.run_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("slug", models.CharField(max_length=63)),
                ("number", models.IntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("waiting", "Waiting"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("canceled", "Canceled"),
                        ],
                        default="queued",
                        max_length=10,
                    ),
                ),
                ("trigger", models.JSONField(default=dict)),
                ("trigger_kind", models.CharField(default="api", max_length=20)),
                ("input", models.JSONField(default=dict)),
                ("output", models.JSONField(null=True)),
                ("error", models.JSONField(null=True)),
                ("actor", models.JSONField()),
                ("patient", models.CharField(blank=True, default="", max_length=64)),
                ("metadata", models.JSONField(default=dict)),
                ("idempotency_key", models.CharField(max_length=255, null=True)),
                ("token", models.BigIntegerField(default=0)),
                ("restarts", models.IntegerField(default=0)),
                ("size", models.BigIntegerField(default=0)),
                ("resume_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "workflow",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="workflows.workflow",
                    ),
                ),
                (
                    "version",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="runs",
                        to="workflows.workflowversion",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Signal",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.signal_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("name", models.CharField(max_length=63)),
                ("payload", models.JSONField(null=True)),
                ("sent_by", models.JSONField()),
                ("sent_at", models.DateTimeField()),
                ("taken_by", models.CharField(blank=True, default="", max_length=600)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="signals",
                        to="workflows.run",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        condition=models.Q(("taken_by", "")),
                        fields=["run", "sent_at"],
                        name="signal_open",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StepRun",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.step_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("sequence", models.IntegerField()),
                ("step", models.CharField(max_length=63)),
                ("path", models.CharField(max_length=600)),
                ("kind", models.CharField(max_length=20)),
                ("iteration", models.CharField(blank=True, default="", max_length=60)),
                ("attempt", models.IntegerField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("waiting", "Waiting"),
                            ("retrying", "Retrying"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("skipped", "Skipped"),
                            ("canceled", "Canceled"),
                            ("lost", "Lost"),
                        ],
                        max_length=10,
                    ),
                ),
                ("superseded", models.BooleanField(default=False)),
                ("input", models.JSONField(null=True)),
                ("output", models.JSONField(null=True)),
                ("error", models.JSONField(null=True)),
                ("waiting", models.JSONField(null=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="steps",
                        to="workflows.run",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("run", "path", "iteration", "attempt"), name="step_attempt_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.task_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("step", models.CharField(max_length=63)),
                ("path", models.CharField(max_length=600)),
                ("title", models.CharField(max_length=300)),
                ("description", models.TextField(default="")),
                ("form", models.JSONField(default=dict)),
                ("role", models.CharField(blank=True, default="", max_length=20)),
                ("user_id", models.CharField(blank=True, default="", max_length=40)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("approved", "Approved"),
                            ("rejected", "Rejected"),
                            ("expired", "Expired"),
                            ("canceled", "Canceled"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("deadline_at", models.DateTimeField(null=True)),
                ("data", models.JSONField(null=True)),
                ("comment", models.TextField(default="")),
                ("decided_by", models.JSONField(null=True)),
                ("decided_at", models.DateTimeField(null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "run",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tasks",
                        to="workflows.run",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["project_id", "status", "-created_at"], name="task_by_status"
                    )
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="workflowversion",
            constraint=models.UniqueConstraint(
                fields=("workflow", "number"), name="workflow_version_once"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(fields=["project_id", "-created_at", "-id"], name="run_newest"),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["project_id", "slug", "-created_at"], name="run_by_workflow"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                fields=["project_id", "status", "-created_at"], name="run_by_status"
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("patient", ""), _negated=True),
                fields=["project_id", "patient", "-created_at"],
                name="run_by_patient",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.UniqueConstraint(
                condition=models.Q(("idempotency_key__isnull", False)),
                fields=("workflow", "idempotency_key"),
                name="run_once_per_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("finished_at__isnull", False),
                        ("status__in", ("completed", "failed", "canceled")),
                    ),
                    models.Q(
                        models.Q(
                            ("status__in", ("completed", "failed", "canceled")), _negated=True
                        ),
                        ("finished_at__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="run_final_is_finished",
            ),
        ),
        ProjectIsolation("workflows_workflow"),
        ProjectIsolation("workflows_workflowversion"),
        ProjectIsolation("workflows_run"),
        ProjectIsolation("workflows_steprun"),
        ProjectIsolation("workflows_task"),
        ProjectIsolation("workflows_signal"),
        AppendOnly("workflows_workflowversion"),
    ]
