"""The table of stored answers, one in each tenant, isolated by project."""

from typing import ClassVar

from django.db import migrations, models

from healthcloud.tenancy.operations import ProjectIsolation


class Migration(migrations.Migration):
    """Create the idempotency records."""

    initial = True

    dependencies: ClassVar[list[tuple[str, str]]] = []

    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.CreateModel(
            name="IdempotencyRecord",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("project_id", models.CharField(max_length=40)),
                ("key", models.CharField(max_length=255)),
                ("fingerprint", models.BinaryField(max_length=32)),
                ("status", models.SmallIntegerField(null=True)),
                ("headers", models.JSONField(default=dict)),
                ("body", models.BinaryField(default=bytes)),
                ("locked_until", models.DateTimeField(null=True)),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("project_id", "key"), name="idempotency_key_once"
                    )
                ],
            },
        ),
        ProjectIsolation("api_idempotencyrecord"),
    ]
