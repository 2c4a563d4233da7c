"""Webhooks that get their events one after the other, in the order of their numbers."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("events", "0002_channels")]

    operations: ClassVar = [
        # With a default in the database, so that code of before can still insert.
        migrations.AddField(
            "webhook", "ordered", models.BooleanField(default=False, db_default=False)
        ),
        migrations.AddField("delivery", "sequence", models.BigIntegerField(null=True)),
        migrations.AddIndex(
            "delivery",
            models.Index(
                fields=["webhook", "sequence"],
                condition=models.Q(status="pending"),
                name="delivery_pending",
            ),
        ),
    ]
