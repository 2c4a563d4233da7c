"""Branches and items, triggers, stored values, cached outputs; child runs and limits on runs."""

import django.db.models.deletion
from django.db import migrations, models

import workflows.models
from healthcloud.tenancy.operations import ProjectIsolation


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0001_initial"),
    ]

    operations = [
        migrations.CreateModel(
            name="CachedOutput",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("key", models.CharField(max_length=64)),
                ("output", models.JSONField(null=True)),
                ("expires_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="EventWait",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.event_wait_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("lane", models.CharField(blank=True, default="", max_length=40)),
                ("pattern", models.CharField(max_length=120)),
                ("where", models.JSONField(default=dict)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="FanOut",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.fan_out_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("lane", models.CharField(blank=True, default="", max_length=40)),
                ("path", models.CharField(max_length=600)),
                ("iteration", models.CharField(blank=True, default="", max_length=80)),
                ("total", models.IntegerField()),
                ("started", models.IntegerField()),
                ("succeeded", models.IntegerField(default=0)),
                ("failed", models.IntegerField(default=0)),
                ("needed", models.IntegerField(null=True)),
                ("tolerated", models.IntegerField(default=0)),
                ("closed", models.BooleanField(default=False)),
            ],
            options={
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Lane",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.lane_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("lineage", models.CharField(blank=True, default="", max_length=400)),
                ("path", models.CharField(max_length=600)),
                ("iteration", models.CharField(blank=True, default="", max_length=80)),
                ("index", models.IntegerField()),
                ("item", models.JSONField(null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("ready", "Ready"),
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("waiting", "Waiting"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("canceled", "Canceled"),
                        ],
                        default="ready",
                        max_length=10,
                    ),
                ),
                ("output", models.JSONField(null=True)),
                ("error", models.JSONField(null=True)),
                ("token", models.BigIntegerField(default=0)),
                ("size", models.BigIntegerField(default=0)),
                ("resume_at", models.DateTimeField(null=True)),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="StoredValue",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.value_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("digest", models.CharField(max_length=64)),
                ("size", models.BigIntegerField()),
                ("content", models.JSONField(null=True)),
                ("sensitive", models.BooleanField(default=False)),
            ],
        ),
        migrations.CreateModel(
            name="Trigger",
            fields=[
                ("project_id", models.CharField(max_length=40)),
                (
                    "id",
                    models.CharField(
                        default=workflows.models.trigger_id,
                        max_length=40,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("name", models.CharField(max_length=80)),
                ("kind", models.CharField(max_length=20)),
                ("spec", models.JSONField()),
                ("active", models.BooleanField(default=True)),
                ("sealed", models.BinaryField(null=True)),
                ("due_at", models.DateTimeField(null=True)),
                ("fired_at", models.DateTimeField(null=True)),
                ("last_error", models.CharField(blank=True, default="", max_length=200)),
                ("created_at", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="run",
            name="deadline_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="depth",
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="run",
            name="held",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="run",
            name="limit_key",
            field=models.CharField(max_length=64, null=True),
        ),
        migrations.AddField(
            model_name="run",
            name="parent",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
        migrations.AddField(
            model_name="run",
            name="parent_lane",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
        migrations.AddField(
            model_name="steprun",
            name="lane",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
        migrations.AddField(
            model_name="steprun",
            name="sensitive",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="task",
            name="escalated_to",
            field=models.CharField(blank=True, db_default="", default="", max_length=20),
        ),
        migrations.AddField(
            model_name="task",
            name="iteration",
            field=models.CharField(blank=True, db_default="", default="", max_length=80),
        ),
        migrations.AddField(
            model_name="task",
            name="lane",
            field=models.CharField(blank=True, db_default="", default="", max_length=40),
        ),
        migrations.AlterField(
            model_name="steprun",
            name="iteration",
            field=models.CharField(blank=True, default="", max_length=80),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("finished_at__isnull", True), ("limit_key__isnull", False)),
                fields=["workflow", "limit_key"],
                name="run_counted",
            ),
        ),
        migrations.AddIndex(
            model_name="run",
            index=models.Index(
                condition=models.Q(("parent", ""), _negated=True),
                fields=["parent"],
                name="run_by_parent",
            ),
        ),
        migrations.AddConstraint(
            model_name="cachedoutput",
            constraint=models.UniqueConstraint(fields=("project_id", "key"), name="cached_once"),
        ),
        migrations.AddField(
            model_name="eventwait",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="event_waits",
                to="workflows.run",
            ),
        ),
        migrations.AddField(
            model_name="fanout",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="fan_outs",
                to="workflows.run",
            ),
        ),
        migrations.AddField(
            model_name="lane",
            name="fan_out",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="lanes",
                to="workflows.fanout",
            ),
        ),
        migrations.AddField(
            model_name="lane",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="lanes",
                to="workflows.run",
            ),
        ),
        migrations.AddField(
            model_name="storedvalue",
            name="run",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="values",
                to="workflows.run",
            ),
        ),
        migrations.AddField(
            model_name="trigger",
            name="workflow",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="starts",
                to="workflows.workflow",
            ),
        ),
        migrations.AddIndex(
            model_name="lane",
            index=models.Index(fields=["run", "status"], name="lane_by_status"),
        ),
        migrations.AddConstraint(
            model_name="lane",
            constraint=models.UniqueConstraint(fields=("fan_out", "index"), name="lane_once"),
        ),
        migrations.AddConstraint(
            model_name="storedvalue",
            constraint=models.UniqueConstraint(fields=("run", "digest"), name="value_once"),
        ),
        migrations.AddIndex(
            model_name="trigger",
            index=models.Index(
                condition=models.Q(("active", True)),
                fields=["kind", "project_id"],
                name="trigger_active",
            ),
        ),
        migrations.AddConstraint(
            model_name="trigger",
            constraint=models.UniqueConstraint(fields=("workflow", "name"), name="trigger_once"),
        ),
        ProjectIsolation("workflows_fanout"),
        ProjectIsolation("workflows_lane"),
        ProjectIsolation("workflows_storedvalue"),
        ProjectIsolation("workflows_cachedoutput"),
        ProjectIsolation("workflows_eventwait"),
        ProjectIsolation("workflows_trigger"),
    ]
