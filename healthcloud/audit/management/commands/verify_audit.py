"""`manage.py verify_audit`: recompute the hash chains and say what was tampered with."""

from argparse import ArgumentParser

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError

from healthcloud.audit.chain import Verdict, extend_chain, verify_chain
from healthcloud.tenancy.scope import tenant_scope


class Command(BaseCommand):
    """Verify the audit trail of every environment, or of one."""

    help = "Recompute the audit trail's hash chains; exits with 1 when one is broken."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take one environment's id, or none for all."""
        parser.add_argument("--environment", help="id of one environment (env_…)")

    def handle(self, *args: object, **options: object) -> None:
        """Verify, print a line for each environment, fail when one is broken."""
        environments = apps.get_model("organizations", "Environment").objects.filter(
            status="active"
        )
        if options["environment"]:
            environments = environments.filter(pk=options["environment"])
            if not environments.exists():
                raise CommandError(f"There is no active environment {options['environment']}.")
        broken = 0
        for environment in environments.order_by("pk"):
            with tenant_scope(environment.scope()):
                verdict = verify_chain()
                extend_chain()
            broken += not verdict.intact
            self._report(environment.pk, verdict)
        if broken:
            raise CommandError(f"{broken} audit trail(s) were tampered with.")

    def _report(self, name: str, verdict: Verdict) -> None:
        state = "intact" if verdict.intact else "BROKEN"
        self.stdout.write(f"{name}: {state}, {verdict.links} links, {verdict.pending} pending")
        for problem in verdict.problems:
            self.stdout.write(f"  {problem}")
