"""Keys that are worked on name who works: a request whose process died can be taken over."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    """Add the holder of a key."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("api", "0001_initial")]

    operations: ClassVar[list[migrations.operations.base.Operation]] = [
        migrations.AddField(
            model_name="idempotencyrecord",
            name="holder",
            field=models.CharField(max_length=40, null=True),
        ),
    ]
