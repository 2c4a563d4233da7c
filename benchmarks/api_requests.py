"""What a request costs the server: CPU by process, rate and latency, against `GET /livez`.

    HEALTHCLOUD_HOME=… manage.py up                                   (in another terminal)
    python benchmarks/api_requests.py $HEALTHCLOUD_HOME/local.json [--requests 400] [--clients 1]

Server CPU is read from /proc for the web, database and cache processes and their children, so
that other programs on the machine do not bend it; rates and latencies they do bend. Each
operation runs in short rounds, in turn with the floor; the figures are medians over the rounds.
Workflow runs count all processes of the platform until the last run has completed.

CPU in floors, sixteen clients, before and after plain requests went straight to their views
(`docs/decisions/0110`) with every read in the trail: read 5.8 and 2.6, create 10.5 and 4.9, token
search of twenty 7.9 and 4.0.
"""

import argparse
import http.client
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

ROUNDS = 5
TICK = os.sysconf("SC_CLK_TCK")
BATCH = 50  # resources in a transaction
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
DEFINITION = {
    "slug": "bench-three",
    "name": "Three transforms",
    "steps": [{"id": f"s{n}", "kind": "transform", "with": {"output": {"n": n}}} for n in range(3)],
}

Operation = Callable[["Client"], None]


class Platform:
    """A running platform, as its local.json describes it."""

    def __init__(self, path: Path) -> None:
        described = json.loads(path.read_text(encoding="utf-8"))
        self.address = urlsplit(described["base_url"])
        self.headers = {
            "Authorization": f"Bearer {described['sandbox_key']}",
            "HealthCloud-Project": described["project_id"],
            "Content-Type": "application/json",
        }
        self.pids: dict[str, list[int]] = described["pids"]

    def cpu(self, *roles: str) -> float:
        """Return the CPU seconds of the processes of these roles so far, children included."""
        return sum(seconds(pid) for role in roles for pid in tree(self.pids[role]))


class Client:
    """One connection that is kept open."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        address = platform.address
        self.connection = http.client.HTTPConnection(address.hostname or "", address.port)

    def send(
        self, method: str, path: str, body: object = None, *, expected: tuple[int, ...] = (200,)
    ) -> bytes:
        """Send a request and return the answer's body; fail on another status."""
        data = None if body is None else json.dumps(body)
        self.connection.request(method, path, data, self.platform.headers)
        response = self.connection.getresponse()
        answer = response.read()
        if response.status not in expected:
            raise SystemExit(f"{method} {path}: {response.status} {answer[:500]!r}")
        return answer


@dataclass
class Measured:
    """The rounds of one operation."""

    name: str
    per_request: int  # what one request counts as: the resources of a transaction
    web: list[float] = field(default_factory=list)
    database: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    taken: list[float] = field(default_factory=list)

    def line(self, floor: "Measured") -> str:
        """Return a row of the table; CPU and its ratio are per request or resource."""
        web, database = statistics.median(self.web), statistics.median(self.database)
        base = statistics.median(floor.web) + statistics.median(floor.database)
        ordered = [1000 * seconds for seconds in sorted(self.taken)]
        p95 = ordered[int(len(ordered) * 0.95)]
        return (
            f"{self.name:28}{statistics.median(self.rates):9.1f}"
            f"{statistics.median(ordered):9.2f}{p95:9.2f}"
            f"{1000 * (web + database):9.3f}{1000 * web:9.3f}{1000 * database:9.3f}"
            f"{(web + database) / base:9.1f}"
        )


def tree(pids: list[int]) -> Iterator[int]:
    """Yield processes and all that they started."""
    for pid in pids:
        yield pid
        for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
            yield from tree([int(child) for child in tasks.read_text().split()])


def seconds(pid: int) -> float:
    """Return the CPU time of a process; none when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return 0.0
    # Its own user and system time, and those of children that have ended.
    return sum(map(int, stat.rpartition(")")[2].split()[11:15])) / TICK


def observation(patient: str, number: int) -> dict[str, object]:
    """Return a vital sign of the patient."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}],
        "code": {"coding": [{"system": LOINC, "code": "8310-5", "display": "Body temperature"}]},
        "subject": {"reference": f"Patient/{patient}"},
        "effectiveDateTime": f"2026-01-{number % 28 + 1:02d}T10:00:00Z",
        "valueQuantity": {"value": 36.6, "unit": "C", "system": UCUM, "code": "Cel"},
    }


def transaction(patient: str) -> dict[str, object]:
    """Return a bundle of vital signs."""
    entries = [
        {
            "resource": observation(patient, number),
            "request": {"method": "POST", "url": "Observation"},
        }
        for number in range(BATCH)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def operations(client: Client) -> list[tuple[str, int, int, Operation]]:
    """Prepare data; return name, resources a request, share of the requests, and what to do."""
    patient = {
        "resourceType": "Patient",
        "name": [{"family": "Benchmark", "given": ["Ada"]}],
        "gender": "female",
        "birthDate": "1980-01-01",
    }
    created = client.send("POST", "/v1/fhir/Patient", patient, expected=(201,))
    person = json.loads(created)["id"]
    client.send("POST", "/v1/fhir", transaction(person))
    count = itertools.count()
    search = f"/v1/fhir/Observation?code={LOINC}|8310-5&_count=20"
    return [
        ("GET /livez (floor)", 1, 1, lambda c: void(c.send("GET", "/livez"))),
        ("read", 1, 1, lambda c: void(c.send("GET", f"/v1/fhir/Patient/{person}"))),
        (
            "create",
            1,
            1,
            lambda c: void(
                c.send(
                    "POST",
                    "/v1/fhir/Observation",
                    observation(person, next(count)),
                    expected=(201,),
                )
            ),
        ),
        ("token search of 20", 1, 1, lambda c: void(c.send("GET", search))),
        (
            "transaction, each resource",
            BATCH,
            10,
            lambda c: void(c.send("POST", "/v1/fhir", transaction(person))),
        ),
    ]


def void(_: object) -> None:
    """Drop an answer."""


def round_of(
    platform: Platform, clients: list[Client], do: Operation, requests: int, into: Measured
) -> None:
    """Send requests over all clients and note what they cost."""

    def one(client: Client) -> list[float]:
        taken = []
        for _ in range(requests // len(clients)):
            began = time.perf_counter()
            do(client)
            taken.append(time.perf_counter() - began)
        return taken

    web, database = platform.cpu("web"), platform.cpu("database", "cache")
    began = time.perf_counter()
    with ThreadPoolExecutor(len(clients)) as pool:
        taken = [seconds for times in pool.map(one, clients) for seconds in times]
    spent = time.perf_counter() - began
    units = len(taken) * into.per_request
    into.taken += taken
    into.rates.append(units / spent)
    into.web.append((platform.cpu("web") - web) / units)
    into.database.append((platform.cpu("database", "cache") - database) / units)


def workflow_runs(platform: Platform, runs: int) -> None:
    """Start runs of three steps one after the other; print the CPU of all processes per run."""
    client = Client(platform)
    client.send("POST", "/v1/workflows", DEFINITION, expected=(200, 201, 409))
    client.send("POST", "/v1/workflows/bench-three/publish", {}, expected=(200, 201))
    roles = ("web", "database", "cache", "worker", "scheduler")
    time.sleep(2)
    quiet = {role: platform.cpu(role) for role in roles}
    time.sleep(5)
    idle = {role: (platform.cpu(role) - quiet[role]) / 5 for role in roles}
    client = Client(platform)  # the server has closed the idle connection
    before = {role: platform.cpu(role) for role in roles}
    began, taken = time.perf_counter(), []
    for _ in range(runs):
        started = time.perf_counter()
        body = {"workflow_id": "bench-three", "input": {}}
        answer = json.loads(
            client.send("POST", "/v1/workflows/run", body, expected=(200, 201, 202))
        )
        address = f"/v1/workflows/runs/{answer['id']}"
        while json.loads(client.send("GET", address))["status"] in {"queued", "running"}:
            time.sleep(0.01)
        taken.append(time.perf_counter() - started)
    spent = time.perf_counter() - began
    cost = {role: (platform.cpu(role) - before[role]) * 1000 / runs for role in roles}
    taken.sort()
    parts = ", ".join(f"{role} {value:.1f}" for role, value in cost.items())
    print(f"\nworkflow of 3 steps: {runs / spent:.1f} runs/s, p50 {1000 * taken[runs // 2]:.0f} ms,"
          f" p95 {1000 * taken[int(runs * 0.95)]:.0f} ms")  # fmt: skip
    print(f"  CPU ms per run, polling included: {sum(cost.values()):.1f} ({parts})")
    print("  idle, % of a core: " + ", ".join(f"{r} {100 * v:.1f}" for r, v in idle.items()))


def main() -> None:
    """Measure each operation in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("local", type=Path)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    platform = Platform(options.local)
    clients = [Client(platform) for _ in range(options.clients)]
    prepared = operations(clients[0])
    measured = [Measured(name, units) for name, units, _, _ in prepared]
    for number in range(-1, ROUNDS):
        for (name, units, share, do), into in zip(prepared, measured, strict=True):
            requests = max(options.clients, options.requests // share // (4 if number < 0 else 1))
            target = into if number >= 0 else Measured(name, units)  # the first round warms up
            round_of(platform, clients, do, requests, target)
    columns = ("per s", "p50 ms", "p95 ms", "CPU ms", "web", "db", "floor x")
    print(" " * 28 + "".join(f"{column:>9}" for column in columns))
    for one in measured:
        print(one.line(measured[0]))
    if options.runs:
        workflow_runs(platform, options.runs)


if __name__ == "__main__":
    main()
