"""`manage.py dead_letters`: list the work that was given up, or bring it back with --replay."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand

from healthcloud.ledger import queries, services


class Command(BaseCommand):
    """List or replay dead letters, of every tenant unless one is named."""

    help = "List the work that was given up; with --replay make it due again, with all attempts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to choose by, and whether to replay."""
        parser.add_argument("--environment", help="the id of one environment")
        parser.add_argument("--kind", help="one kind of work, such as connector.acknowledge")
        parser.add_argument("--replay", action="store_true")

    def handle(self, *args: object, **options: object) -> None:
        """Print a line for each, and replay them if told to."""
        environment_id = options["environment"]
        rows = queries.dead_letters(
            environment_id=None if environment_id is None else str(environment_id)
        )
        if options["kind"]:
            rows = rows.filter(kind=options["kind"])
        for row in rows:
            line = f"{row.id} {row.environment_id} {row.kind} {row.ref} {row.last_error}"
            if options["replay"]:
                line += f": {self._replay(row.id, row.environment_id)}"
            self.stdout.write(line)

    def _replay(self, work_id: int, environment_id: str) -> str:
        try:
            services.replay(work_id=work_id, environment_id=environment_id)
        except services.AlreadyQueued:
            return "is queued again already"
        return "replayed"
