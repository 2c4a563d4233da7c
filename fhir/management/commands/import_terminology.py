"""`manage.py import_terminology`: LOINC, SNOMED CT, RxNorm or a CodeSystem into a tenant."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from fhir.terminology.importing import FORMATS, load, read_release
from healthcloud.actors import SYSTEM
from healthcloud.errors import HealthCloudError
from healthcloud.organizations.models import Environment


class Command(BaseCommand):
    """Import a release that the organization is licensed for; safe to repeat."""

    help = "Import the release files of a code system into one environment of an organization."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to import, from where, and for whom."""
        parser.add_argument("kind", choices=sorted(FORMATS))
        parser.add_argument("path", type=Path, help="folder or zip archive of the release")
        parser.add_argument("--organization", required=True, help="its id, such as org_123")
        parser.add_argument("--environment", choices=["sandbox", "production"], required=True)
        parser.add_argument("--release", default="", help="version, such as 2.78 or 20240101")

    def handle(
        self,
        *,
        kind: str,
        path: Path,
        organization: str,
        environment: str,
        release: str,
        **options: object,
    ) -> None:
        """Import, and print how many concepts there are."""
        if not release and kind != "codesystem":
            raise CommandError("Name the version of the release: --release 2.78")
        found = Environment.objects.filter(organization_id=organization, kind=environment).first()
        if found is None:
            raise CommandError(f"There is no {environment} of {organization}.")
        try:
            loaded = load(
                scope=found.scope(),
                release=read_release(kind, path, release),
                source=path.name,
                actor=SYSTEM,
                now=timezone.now(),
            )
        except HealthCloudError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{loaded.concepts:,} concepts of {loaded.url}|{loaded.version}")
