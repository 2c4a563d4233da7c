"""Durable runs of ours beside those of DBOS, in turns, on one PostgreSQL with fsync on.

    HEALTHCLOUD_HOME=… manage.py up                                   (in another terminal)
    python -m benchmarks.beside_dbos $HEALTHCLOUD_HOME/local.json [--runs 200] [--rounds 3]

Ours: `POST /v1/workflows/run` with `wait` over HTTP until the finished run is answered, with
authentication, tenancy, events and audit. DBOS: the workflow function called in its own process,
without HTTP. It is installed into a temporary virtual environment and gets a database of its own
on the platform's server. Three kinds of steps of ours are measured: `transform`, which is data,
`emit`, which is an event, and `fhir`, which creates, finds and updates a resource in turn;
`queued` is the last with a limit on the run's time, so that a worker carries it.

CPU is read from /proc (children included): for ours web, worker, scheduler, cache and database;
for DBOS its process and the database. Other programs on the machine bend rates, hardly the CPU.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from benchmarks.api_requests import Client, Platform, observation, seconds, tree

ROLES = ("web", "worker", "scheduler", "cache", "database")
PEER = Path(__file__).with_name("dbos_peer.py")
DATABASE = "bench_dbos_peer"


@dataclass
class Figures:
    """What the rounds of one kind of run measured."""

    rates: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)

    def add(self, taken: list[float], spent: float, cpu: dict[str, float]) -> None:
        """Add a round."""
        self.rates.append(len(taken) / spent)
        self.taken += taken
        self.cpu.append(sum(cpu.values()) * 1000 / len(taken))
        for role, used in cpu.items():
            self.parts.setdefault(role, []).append(used * 1000 / len(taken))

    @property
    def rate(self) -> float:
        """Return runs a second, the median of the rounds."""
        return statistics.median(self.rates)

    @property
    def p50(self) -> float:
        """Return the median of a run's milliseconds."""
        return statistics.median(self.taken) * 1000

    @property
    def p95(self) -> float:
        """Return how many milliseconds one run in twenty exceeds."""
        return sorted(self.taken)[int(len(self.taken) * 0.95)] * 1000

    def line(self, name: str, peer: "Figures | None") -> str:
        """Return a row of the table, with ratios to the peer."""
        cpu = statistics.median(self.cpu)
        row = f"{name:28}{self.rate:9.1f}{self.p50:9.1f}{self.p95:9.1f}{cpu:9.2f}"
        if peer is not None:
            row += f"{self.rate / peer.rate:9.2f}{self.p50 / peer.p50:9.2f}"
            row += f"{cpu / statistics.median(peer.cpu):9.2f}"
        parts = ", ".join(f"{r} {statistics.median(v):.1f}" for r, v in self.parts.items())
        return f"{row}   {parts}"


def step_of(kind: str, number: int) -> dict[str, object]:
    """Return a step of a kind of run."""
    if kind == "transform":
        return {"id": f"s{number}", "kind": kind, "with": {"output": {"n": 1}}}
    if kind == "emit":
        arguments: dict[str, object] = {"type": "custom.bench.step", "payload": {"n": 1}}
        return {"id": f"s{number}", "kind": kind, "with": arguments}
    resource = observation("pat_bench", number)
    if number % 3 == 1:
        query = "Observation?subject=Patient/pat_bench&_count=1"
        return {"id": f"s{number}", "kind": "fhir_search", "with": {"query": query}}
    if number % 3 == 2:
        resource["id"] = f"{{{{ steps.s{number - 2}.output.id }}}}"
        return {"id": f"s{number}", "kind": "fhir_update", "with": {"resource": resource}}
    return {"id": f"s{number}", "kind": "fhir_create", "with": {"resource": resource}}


class Ours:
    """Runs of the platform, from the request to the finished run in its answer."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform

    def prepare(self, steps: int, kind: str) -> None:
        """Publish the workflow."""
        definition = {
            "slug": f"bench-{kind}-{steps}",
            "name": "Benchmark",
            "steps": [step_of(kind, number) for number in range(steps)],
            **({"timeout": "6h"} if kind == "queued" else {}),
        }
        client = Client(self.platform)
        client.send("POST", "/v1/workflows", definition, expected=(200, 201, 409))
        client.send(
            "POST", f"/v1/workflows/{definition['slug']}/publish", {}, expected=(200, 201, 409)
        )

    def measure(self, steps: int, kind: str, runs: int, clients: int, into: Figures) -> None:
        """Start runs from as many connections as there are clients."""
        body = {"workflow_id": f"bench-{kind}-{steps}", "input": {}, "wait": 30}
        shares = [runs // clients] * clients

        def several(share: int) -> list[float]:
            client, taken = Client(self.platform), []
            for _ in range(share):
                began = time.perf_counter()
                answer = client.send("POST", "/v1/workflows/run", body)
                taken.append(time.perf_counter() - began)
                if b'"completed"' not in answer:
                    raise SystemExit(f"a run did not complete: {answer[:500]!r}")
            return taken

        before = {role: self.platform.cpu(role) for role in ROLES}
        began = time.perf_counter()
        with ThreadPoolExecutor(clients) as pool:
            taken = [seconds for times in pool.map(several, shares) for seconds in times]
        spent = time.perf_counter() - began
        time.sleep(0.3)  # what is done after the answer counts too
        into.add(taken, spent, {role: self.platform.cpu(role) - before[role] for role in ROLES})

    def idle(self, wait: float) -> dict[str, float]:
        """Return what share of a core each role takes while nothing is asked of it."""
        before = {role: self.platform.cpu(role) for role in ROLES}
        time.sleep(wait)
        return {role: (self.platform.cpu(role) - before[role]) / wait for role in ROLES}


class Peer:
    """DBOS, in a process that is told what to measure."""

    def __init__(self, python: Path, url: str, platform: Platform) -> None:
        self.platform = platform
        self.process = subprocess.Popen(
            [python, PEER, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, steps: int, runs: int, clients: int, into: Figures) -> None:
        """Let it run, and add its figures."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        before = self._cpu()
        began = time.perf_counter()
        order = {"steps": steps, "runs": runs, "clients": clients}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        taken = json.loads(self.process.stdout.readline())
        spent = time.perf_counter() - began
        after = self._cpu()
        into.add(taken, spent, {role: after[role] - before[role] for role in after})

    def _cpu(self) -> dict[str, float]:
        own = sum(seconds(pid) for pid in tree([self.process.pid]))
        return {"process": own, "database": self.platform.cpu("database")}


@contextlib.contextmanager
def peer(platform: Platform, admin_url: str) -> Iterator[Peer]:
    """Install DBOS for as long as the block lasts, with a database of its own."""
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "bin" / "python"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "dbos"], check=True)
        url = f"{admin_url.rpartition('/')[0]}/{DATABASE}"
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
        started = Peer(python, url, platform)
        try:
            yield started
        finally:
            started.process.kill()
            started.process.wait()
            with psycopg.connect(admin_url, autocommit=True) as admin:
                admin.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


KINDS = ("transform", "emit", "fhir", "queued")


def rounds(
    ours: Ours, theirs: Peer | None, steps: int, clients: int, options: argparse.Namespace
) -> dict[str, Figures]:
    """Measure one size and concurrency, everyone in turn; the first round warms up."""
    rows = {name: Figures() for name in ("dbos", *KINDS)}
    runs = options.runs if clients > 1 else options.runs // 3
    for number in range(-1, options.rounds):
        count = runs if number >= 0 else max(clients, runs // 4)
        into = rows if number >= 0 else {name: Figures() for name in rows}
        if theirs is not None:
            theirs.measure(steps, count, clients, into["dbos"])
        for kind in KINDS:
            ours.measure(steps, kind, count, clients, into[kind])
    return rows


def compare(ours: Ours, theirs: Peer | None, options: argparse.Namespace) -> None:
    """Measure each size and concurrency in turns and print the table."""
    columns = ("runs/s", "p50 ms", "p95 ms", "CPU ms", "rate x", "p50 x", "CPU x")
    print(" " * 28 + "".join(f"{column:>9}" for column in columns))
    for steps in (3, 10):
        for kind in KINDS:
            ours.prepare(steps, kind)
        for clients in (1, 16):
            rows = rounds(ours, theirs, steps, clients, options)
            dbos = rows.pop("dbos") if theirs is not None else None
            if dbos is not None:
                print(dbos.line(f"DBOS, {steps} steps, c={clients}", None))
            for kind in KINDS:
                print(rows[kind].line(f"ours, {steps} {kind}, c={clients}", dbos), flush=True)


def main() -> None:
    """Measure both, then what the platform takes at rest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("local", type=Path)
    parser.add_argument("--runs", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="ours only, without DBOS")
    options = parser.parse_args()
    ours = Ours(Platform(options.local))
    admin_url = json.loads(options.local.read_text(encoding="utf-8"))["database_admin_url"]
    with contextlib.ExitStack() as stack:
        theirs = None if options.alone else stack.enter_context(peer(ours.platform, admin_url))
        compare(ours, theirs, options)
    time.sleep(3)
    idle = ", ".join(f"{role} {100 * share:.1f}" for role, share in ours.idle(10).items())
    print(f"at rest, % of a core: {idle}")


if __name__ == "__main__":
    main()
