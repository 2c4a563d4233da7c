"""`manage.py dead_letters`: list what was given up; --replay brings it back, --discard deletes."""

from argparse import ArgumentParser

from django.core.management.base import BaseCommand

from healthcloud.ledger import queries, services


class Command(BaseCommand):
    """List, replay or discard dead letters, of every tenant unless one is named."""

    help = "List what was given up; with --replay make it due again, with --discard delete it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take what to choose by, and what to do."""
        parser.add_argument("--environment", help="the id of one environment")
        parser.add_argument("--kind", help="one kind of work, such as connector.acknowledge")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--replay", action="store_true")
        what.add_argument("--discard", action="store_true")

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
            if options["discard"]:
                services.discard(work_id=row.id, environment_id=row.environment_id)
                line += ": discarded"
            self.stdout.write(line)

    def _replay(self, work_id: int, environment_id: str) -> str:
        try:
            services.replay(work_id=work_id, environment_id=environment_id)
        except services.AlreadyQueued:
            return "is queued again already"
        return "replayed"
