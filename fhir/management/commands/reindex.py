"""`manage.py reindex`: index stored resources anew, as after an upgrade of the search index."""

from argparse import ArgumentParser
from collections.abc import Sequence

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from fhir import jobs
from fhir.definitions import is_resource_type, resource_types
from fhir.parameters.reindexing import KIND
from healthcloud.actors import SYSTEM
from healthcloud.organizations.models import Environment, Project
from healthcloud.tenancy.scope import tenant_scope


class Command(BaseCommand):
    """Ask for jobs that the workers carry; searches and writes go on meanwhile."""

    help = "Index the stored resources of some or all tenants anew; workers do it as jobs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take whose resources, and of which types; everything unless told."""
        parser.add_argument("--organization", default="", help="its id, such as org_123")
        parser.add_argument("--environment", choices=["sandbox", "production"])
        parser.add_argument("--project", default="", help="its id, such as proj_123")
        parser.add_argument("--type", action="append", default=[], help="may be repeated")

    def handle(
        self,
        *,
        organization: str,
        environment: str | None,
        project: str,
        type: Sequence[str],
        **options: object,
    ) -> None:
        """Start one job for each project, and print where each is."""
        for name in type:
            if not is_resource_type(name):
                raise CommandError(f"{name} is not a FHIR R4 type.")
        types = sorted(set(type) or resource_types())
        environments = Environment.objects.filter(status="active").order_by("id")
        if organization:
            environments = environments.filter(organization_id=organization)
        if environment:
            environments = environments.filter(kind=environment)
        started = 0
        for found in environments:
            projects = Project.objects.filter(organization_id=found.organization_id)
            for named in (projects.filter(id=project) if project else projects).order_by("id"):
                with tenant_scope(found.scope(named)):
                    job = jobs.start(
                        kind=KIND,
                        request={"types": types},
                        scopes=["fhir:write"],
                        actor=SYSTEM,
                        now=timezone.now(),
                    )
                started += 1
                self.stdout.write(f"{found.id} {named.id}: /v1/fhir/_jobs/{job.id}")
        if not started:
            raise CommandError("No active environment and project is meant by these options.")
