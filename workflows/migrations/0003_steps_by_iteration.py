"""The rows of one item are found by an index among those of ten thousand."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("workflows", "0002_lanes_and_triggers"),
    ]

    operations = [
        migrations.AlterField(
            model_name="steprun",
            name="run",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="steps",
                to="workflows.run",
            ),
        ),
        migrations.AddIndex(
            model_name="steprun",
            index=models.Index(fields=["run", "iteration"], name="step_by_iteration"),
        ),
    ]
