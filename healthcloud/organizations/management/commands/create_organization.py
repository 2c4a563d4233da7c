"""`manage.py create_organization NAME --owner EMAIL`: an organization, its tenants and keys."""

import json
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from healthcloud.actors import SYSTEM
from healthcloud.api.principal import ALL_SCOPES
from healthcloud.errors import HealthCloudError
from healthcloud.organizations import services
from healthcloud.organizations.models import Organization, User


class Command(BaseCommand):
    """Create an organization with sandbox, production, a first project and a key of each."""

    help = "Create an organization; prints its ids and keys as JSON, the secrets this once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the name and the options."""
        parser.add_argument("name")
        parser.add_argument("--owner", required=True, help="email of an existing account")
        parser.add_argument("--slug", default=None)
        parser.add_argument("--project", default=None, help="name of a first project")
        plans = Organization.Plan.values
        parser.add_argument("--plan", choices=plans, default=Organization.Plan.STARTER)

    def handle(
        self,
        *args: object,
        name: str,
        owner: str,
        slug: str | None,
        project: str | None,
        plan: str,
        **options: object,
    ) -> None:
        """Create it all."""
        person = User.objects.filter(email__iexact=owner).first()
        if person is None:
            raise CommandError(f"{owner} has no account; run `manage.py create_user {owner}`.")
        now = timezone.now()
        try:
            organization = services.create_organization(
                name=name, owner=person, slug=slug, plan=plan, actor=SYSTEM, now=now
            )
            made = (
                services.create_project(
                    organization_id=organization.id, name=project, actor=SYSTEM, now=now
                )
                if project
                else None
            )
            keys = {
                environment.kind: services.create_api_key(
                    environment=environment,
                    name=f"First {environment.kind} key",
                    scopes=ALL_SCOPES,
                    actor=SYSTEM,
                    now=now,
                ).secret
                for environment in organization.environments.order_by("kind")
            }
        except HealthCloudError as error:
            raise CommandError(error.message) from error
        answer = {
            "organization_id": organization.id,
            "project_id": made.id if made else None,
            "keys": keys,
        }
        self.stdout.write(json.dumps(answer, indent=2))
