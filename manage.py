#!/usr/bin/env python
"""Run HealthCloud's commands: `manage.py help` lists them."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Hand the command line to Django."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcloud.settings")
    from healthcloud.runtime.local import join_running

    if sys.argv[1:2] not in (["up"], ["down"], ["status"]):
        join_running(Path(__file__).resolve().parent / "var", os.environ)
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
