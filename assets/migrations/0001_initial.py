"""What a project installed and runs, each table isolated by project."""

import django.db.models.deletion
from django.db import migrations, models

from healthcloud.tenancy.operations import AppendOnly, ProjectIsolation


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Installation",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("asset_id", models.CharField(max_length=80)),
                ("version", models.CharField(max_length=20)),
                ("config", models.JSONField(default=dict)),
                ("status", models.CharField(default="installed", max_length=16)),
                ("installed_by", models.JSONField()),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("uninstalled_at", models.DateTimeField(null=True)),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["project_id", "-created_at", "-id"], name="installation_newest"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "installed")),
                        fields=("project_id", "asset_id"),
                        name="one_live_installation",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["installed", "uninstalled"])),
                        name="installation_status",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Deployment",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("asset_id", models.CharField(max_length=80)),
                ("environment", models.CharField(max_length=12)),
                ("status", models.CharField(default="pending", max_length=16)),
                ("target_number", models.PositiveIntegerField()),
                ("serving_number", models.PositiveIntegerField(null=True)),
                ("error", models.JSONField(null=True)),
                ("metadata", models.JSONField(default=dict)),
                ("created_by", models.JSONField()),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("activated_at", models.DateTimeField(null=True)),
                (
                    "installation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deployments",
                        to="assets.installation",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Credential",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("project_id", models.CharField(max_length=40)),
                ("name", models.CharField(max_length=60)),
                ("sealed", models.BinaryField()),
                ("last4", models.CharField(max_length=4)),
                ("rotated_at", models.DateTimeField()),
                (
                    "installation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="credentials",
                        to="assets.installation",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Receipt",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("release_number", models.PositiveIntegerField()),
                ("body", models.JSONField()),
                ("status", models.CharField(default="pending", max_length=12)),
                ("error", models.JSONField(null=True)),
                ("created_at", models.DateTimeField()),
                ("done_at", models.DateTimeField(null=True)),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="receipts",
                        to="assets.deployment",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Release",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("number", models.PositiveIntegerField()),
                ("asset_version", models.CharField(max_length=20)),
                ("config", models.JSONField()),
                ("slots", models.JSONField(default=dict)),
                ("config_hash", models.CharField(max_length=64)),
                ("manifest_hash", models.CharField(max_length=64)),
                ("rollback_of", models.PositiveIntegerField(null=True)),
                ("created_by", models.JSONField()),
                ("created_at", models.DateTimeField()),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="releases",
                        to="assets.deployment",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AgentRun",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                ("id", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("asset_id", models.CharField(max_length=80)),
                ("asset_version", models.CharField(max_length=20)),
                ("release_number", models.PositiveIntegerField()),
                ("idempotency_key", models.CharField(max_length=255)),
                ("attempt", models.PositiveIntegerField(default=1)),
                ("trigger", models.CharField(max_length=20)),
                ("parent", models.JSONField(null=True)),
                ("actor", models.JSONField()),
                ("status", models.CharField(default="running", max_length=20)),
                ("input", models.JSONField()),
                ("output", models.JSONField(null=True)),
                ("evidence", models.JSONField(default=list)),
                ("rules", models.JSONField(default=list)),
                ("missing_data", models.JSONField(default=list)),
                ("actions", models.JSONField(default=list)),
                ("approvals", models.JSONField(default=list)),
                ("resources", models.JSONField(default=list)),
                ("error", models.JSONField(null=True)),
                ("started_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(null=True)),
                ("duration_ms", models.PositiveIntegerField(null=True)),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="agent_runs",
                        to="assets.deployment",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(
                        fields=["project_id", "-started_at", "-id"], name="agent_run_newest"
                    ),
                    models.Index(fields=["deployment", "-started_at"], name="agent_run_deployment"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("deployment", "idempotency_key"), name="one_run_a_key"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                ["queued", "running", "requires_action", "succeeded", "failed"],
                            )
                        ),
                        name="agent_run_status",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DeploymentLog",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("project_id", models.CharField(max_length=40)),
                ("release_number", models.PositiveIntegerField()),
                ("level", models.CharField(max_length=8)),
                ("message", models.CharField(max_length=500)),
                ("fields", models.JSONField(default=dict)),
                ("at", models.DateTimeField()),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="log_lines",
                        to="assets.deployment",
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["deployment", "-id"], name="deployment_log_newest")
                ],
            },
        ),
        migrations.CreateModel(
            name="HealthCheck",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("project_id", models.CharField(max_length=40)),
                ("release_number", models.PositiveIntegerField()),
                ("ok", models.BooleanField()),
                ("probes", models.JSONField()),
                ("at", models.DateTimeField()),
                (
                    "deployment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="checks",
                        to="assets.deployment",
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["deployment", "-id"], name="health_check_newest")],
            },
        ),
        migrations.AddIndex(
            model_name="deployment",
            index=models.Index(
                fields=["project_id", "-created_at", "-id"], name="deployment_newest"
            ),
        ),
        migrations.AddConstraint(
            model_name="deployment",
            constraint=models.UniqueConstraint(
                fields=("project_id", "asset_id"), name="one_deployment"
            ),
        ),
        migrations.AddConstraint(
            model_name="deployment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "pending",
                            "validating",
                            "provisioning",
                            "active",
                            "degraded",
                            "stopped",
                            "failed",
                        ],
                    )
                ),
                name="deployment_status",
            ),
        ),
        migrations.AddConstraint(
            model_name="credential",
            constraint=models.UniqueConstraint(
                fields=("installation", "name"), name="one_credential_a_name"
            ),
        ),
        migrations.AddConstraint(
            model_name="receipt",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["pending", "done", "failed"])),
                name="receipt_status",
            ),
        ),
        migrations.AddConstraint(
            model_name="release",
            constraint=models.UniqueConstraint(
                fields=("deployment", "number"), name="one_release_a_number"
            ),
        ),
        ProjectIsolation("assets_installation"),
        ProjectIsolation("assets_credential"),
        ProjectIsolation("assets_deployment"),
        ProjectIsolation("assets_release"),
        ProjectIsolation("assets_deploymentlog"),
        ProjectIsolation("assets_healthcheck"),
        ProjectIsolation("assets_agentrun"),
        ProjectIsolation("assets_receipt"),
        AppendOnly("assets_release"),
        AppendOnly("assets_deploymentlog"),
    ]
