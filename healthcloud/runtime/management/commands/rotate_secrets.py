"""`manage.py rotate_secrets`: wrap every environment's data key with the newest key."""

from django.core.management.base import BaseCommand

from healthcloud.secrets import rotate


class Command(BaseCommand):
    """Re-wrap data keys after a new key was put first in HEALTHCLOUD_KEY_ENCRYPTION_KEYS."""

    help = "Wrap all data keys with the newest key-encryption key; then the old one may go."

    def handle(self, *args: object, **options: object) -> None:
        """Rotate and say how many data keys were re-wrapped."""
        self.stdout.write(f"{rotate()} data keys are wrapped with the newest key.")
