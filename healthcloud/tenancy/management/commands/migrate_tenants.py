"""Bring the public schema, the template and every tenant up to date."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django_tenants.utils import get_tenant_model

from healthcloud.tenancy.provisioning import migrate_tenants, prepare


class Command(BaseCommand):
    """Migrate all of the database; tenants in parallel, going on after a failure."""

    help = "Migrate the public schema, the tenant template and every tenant."
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Accept how many tenants to migrate at once."""
        parser.add_argument("--parallel", type=int, default=4, help="tenants migrated at once")

    def handle(self, *args: object, **options: int) -> None:
        """Migrate and report; fail when any tenant did."""
        prepare(report=self.stdout.write)
        environments = get_tenant_model().objects.filter(status="active").order_by("schema_name")
        schemas = list(environments.values_list("schema_name", flat=True))
        results = migrate_tenants(
            schemas, report=self.stdout.write, parallel=int(options["parallel"])
        )
        failed = [result for result in results if result.error]
        if failed:
            names = ", ".join(result.schema for result in failed)
            raise CommandError(f"{len(failed)} of {len(results)} tenants failed: {names}")
        self.stdout.write(f"{len(schemas)} tenants up to date, {len(results)} of them migrated now")
