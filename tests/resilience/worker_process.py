"""A worker process of its own for tests that kill it: drains queues (steps) for ever."""

import os
import sys
import time


def main() -> None:
    """Drain until killed; says `ready` first."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcloud.settings")
    import django

    django.setup()
    from healthcloud.ledger import worker

    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        worker.drain(sys.argv[1:] or ["steps"], limit=100)
        time.sleep(0.05)


if __name__ == "__main__":
    main()
