"""The other side of `beside_dbos.py`: runs of DBOS in its own process, told by lines of JSON.

Started by that program in a virtual environment of its own; not imported by anything of ours.
Reads `{"steps": 3, "runs": 200, "clients": 16}` and answers with the seconds of each run.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from dbos import DBOS  # type: ignore[import-not-found]  # lives in the throw-away environment


@DBOS.step()  # type: ignore[untyped-decorator]
def note(number: int) -> dict[str, int]:
    """Do next to nothing; DBOS commits what it answers."""
    return {"n": number}


@DBOS.workflow()  # type: ignore[untyped-decorator]
def carry(steps: int) -> dict[str, int]:
    """Do the steps one after the other."""
    for number in range(steps):
        note(number)
    return {"steps": steps}


def measure(steps: int, runs: int, clients: int) -> list[float]:
    """Call the workflow from as many threads as there are clients; return each run's seconds."""

    def one(_: int) -> float:
        began = time.perf_counter()
        carry(steps)
        return time.perf_counter() - began

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(one, range(runs)))


def main() -> None:
    """Serve measurements until the input ends."""
    DBOS(
        config={
            "name": "peer",
            "system_database_url": sys.argv[1],
            "run_admin_server": False,
            "log_level": "WARNING",
        }
    )
    DBOS.launch()
    for line in sys.stdin:
        taken = measure(**json.loads(line))
        sys.stdout.write(json.dumps(taken) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
