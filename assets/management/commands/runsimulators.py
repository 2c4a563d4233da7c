"""`manage.py runsimulators`: the vendors' servers for the sandbox, on loopback."""

from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from assets.simulators.server import serve


class Command(BaseCommand):
    """Run all simulators in one process until it is stopped."""

    help = (
        "Run the vendor simulators on 127.0.0.1 (default: the port of HEALTHCLOUD_SIMULATOR_URL)."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the port."""
        parser.add_argument("--port", type=int, default=None)

    def handle(self, *args: object, **options: object) -> None:
        """Serve until interrupted."""
        named = options["port"]
        default = urlsplit(settings.SIMULATOR_URL).port or 8010
        server = serve(named if isinstance(named, int) else default)
        self.stdout.write(f"Simulators on http://127.0.0.1:{server.server_port}")
        self.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            self.stdout.write("Simulators stopped.")
        finally:
            server.server_close()
