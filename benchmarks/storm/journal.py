"""The operation log: a line of JSON for each thing that was asked, answered, heard or killed."""

import json
import threading
import time
from pathlib import Path
from typing import Any

Entry = dict[str, Any]


class Journal:
    """Appends entries from any thread; the checker reads nothing else."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._lock = threading.Lock()

    def note(self, op: str, **facts: object) -> None:
        """Write an entry with the time of now."""
        line = json.dumps({"t": time.time(), "op": op, **facts})
        with self._lock:
            self._file.write(line + "\n")


def read(path: Path) -> list[Entry]:
    """Return the entries of a log; a line that was cut off ends it."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries
