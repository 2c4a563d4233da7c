"""The rows of one item are found by an index among those of ten thousand."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0002_lanes_and_triggers"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="steprun",
            index=models.Index(fields=["run", "iteration"], name="step_by_iteration"),
        ),
    ]
