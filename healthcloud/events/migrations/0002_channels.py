import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="webhook",
            name="purpose",
            field=models.CharField(default="events", max_length=20),
        ),
        migrations.AddField(
            model_name="webhook",
            name="subject",
            field=models.CharField(blank=True, default="", max_length=100),
        ),
        migrations.AddIndex(
            model_name="webhook",
            index=models.Index(fields=["purpose", "subject"], name="webhook_subject"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="content",
            field=models.CharField(blank=True, default="", max_length=100),
        ),
        # Plain SQL: the editor would look constraints up, which statements replayed elsewhere can't.
        migrations.RunSQL(
            "ALTER TABLE events_delivery ALTER COLUMN event_id DROP NOT NULL",
            "ALTER TABLE events_delivery ALTER COLUMN event_id SET NOT NULL",
            state_operations=[
                migrations.AlterField(
                    model_name="delivery",
                    name="event",
                    field=models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="deliveries",
                        to="events.event",
                    ),
                )
            ],
        ),
    ]
