"""`manage.py create_user EMAIL`: make an account; the password comes from a prompt or stdin."""

import getpass
import sys
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError

from healthcloud.errors import HealthCloudError
from healthcloud.organizations.services import create_user


class Command(BaseCommand):
    """Create a person who can sign in."""

    help = "Create a person who can sign in. The password is asked for, or read from stdin."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the email and the options."""
        parser.add_argument("email")
        parser.add_argument("--name", default="")
        parser.add_argument("--staff", action="store_true", help="may use the admin console")

    def handle(self, *args: object, email: str, name: str, staff: bool, **options: object) -> None:
        """Create the account."""
        interactive = sys.stdin.isatty()
        password = getpass.getpass() if interactive else sys.stdin.readline().rstrip("\n")
        try:
            user = create_user(email=email, password=password, name=name, is_staff=staff)
        except HealthCloudError as error:
            raise CommandError(error.message) from error
        self.stdout.write(user.id)
