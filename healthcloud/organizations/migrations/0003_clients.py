from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("organizations", "0002_usage")]

    operations = [
        migrations.AddField(
            model_name="apikey",
            name="jwks",
            field=models.JSONField(blank=True, null=True),
        ),
        migrations.CreateModel(
            name="UsedAssertion",
            fields=[
                (
                    "digest",
                    models.BinaryField(max_length=32, primary_key=True, serialize=False),
                ),
                ("expires_at", models.DateTimeField(db_index=True)),
            ],
        ),
    ]
