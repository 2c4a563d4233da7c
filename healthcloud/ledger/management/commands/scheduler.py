"""`manage.py scheduler`: ring for due work and expired leases until told to stop."""

import signal
import threading
from types import FrameType

from django.core.management.base import BaseCommand

from healthcloud.ledger import sweeper


class Command(BaseCommand):
    """Run the sweeper; any number of them may run."""

    help = "Ring for due work and for work whose worker died, every second."

    def handle(self, *args: object, **options: object) -> None:
        """Sweep until SIGINT or SIGTERM."""
        stopping = threading.Event()

        def stop(signum: int, frame: FrameType | None) -> None:
            stopping.set()

        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        self.stdout.write("scheduler: sweeping every second")
        sweeper.sweep_forever(stopping)
        self.stdout.write("scheduler: stopped")
