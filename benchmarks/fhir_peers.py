"""The FHIR server of ours beside sekmet-fhir (FastAPI, SQLite), in turns, on the same bundles.

    HEALTHCLOUD_HOME=… manage.py up                                   (in another terminal)
    python -m benchmarks.fhir_peers $HEALTHCLOUD_HOME/local.json FOLDER [--bundles 12]

FOLDER holds Synthea's transaction bundles (R4). sekmet-fhir is installed into a temporary virtual
environment and started with a bearer token, strict validation and no log of traffic; ours runs as
it always does, with authentication, tenancy, validation and audit. Each row takes both in turn,
`--rounds` times, and prints medians: requests a second, p50 and p95 in milliseconds, server CPU in
milliseconds a request (web and database, from /proc), and our ratio. Rows marked `few` send the
peer few requests, because it needs seconds for one.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from benchmarks.api_requests import LOINC, Platform, observation, seconds, tree
from benchmarks.load import request, run
from healthcloud.runtime.ports import free_port

TOKEN = "benchmark"
HEIGHT = f"{LOINC}|8302-2"
FEW = 16


@dataclass
class Server:
    """A server under test: where it listens, what it wants to see, whose CPU counts."""

    name: str
    host: str
    port: int
    prefix: str
    headers: dict[str, str]
    pids: list[int]

    def cpu(self) -> float:
        """Return the CPU seconds of its processes so far."""
        return sum(seconds(pid) for pid in tree(self.pids))

    def bytes_of(self, method: str, path: str, body: object = None) -> bytes:
        """Return the bytes of a request."""
        headers = {"Host": f"{self.host}:{self.port}", **self.headers}
        sent = b"" if body is None else json.dumps(body).encode()
        return request(method, f"{self.prefix}{path}", headers, sent)

    def ask(self, method: str, path: str, body: object = None) -> dict:
        """Send one request and return the parsed answer."""
        sent = None if body is None else json.dumps(body).encode()
        address = f"http://{self.host}:{self.port}{self.prefix}{path}"
        asked = urllib.request.Request(address, sent, self.headers, method=method)
        with urllib.request.urlopen(asked, timeout=300) as answer:
            return json.loads(answer.read())


@dataclass
class Figures:
    """What the rounds of one row measured of one server."""

    rates: list[float] = field(default_factory=list)
    middles: list[float] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def medians(self) -> tuple[float, float, float, float]:
        """Return rate, p50, p95 and CPU."""
        found = [statistics.median(v) for v in (self.rates, self.middles, self.tails, self.cpu)]
        return found[0], found[1], found[2], found[3]


@dataclass
class Row:
    """One kind of request; `make` gives the bytes of the n-th."""

    name: str
    make: Callable[[Server, int], bytes]
    count: int = 480
    few: bool = False


@contextmanager
def peer(folder: Path) -> Iterator[Server]:
    """Install and start sekmet-fhir, and stop it at the end."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    pip = [str(folder / "venv/bin/pip"), "install", "--quiet", "sekmet-fhir==0.1.1"]
    subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    port = free_port()
    settings = {
        "base_url": f"http://127.0.0.1:{port}/fhir",
        "host": "127.0.0.1",
        "port": port,
        "data_dir": str(folder / "data"),
        "server_auth": {"types": ["bearer"], "tokens": [TOKEN]},
        "simulator": {"enabled": False},
        "log_inbound": False,
    }
    (folder / "settings.yaml").write_text(json.dumps(settings), encoding="utf-8")
    command = [str(folder / "venv/bin/sekmet"), "serve", "--config", str(folder / "settings.yaml")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/fhir+json"}
    server = Server("sekmet-fhir", "127.0.0.1", port, "/fhir", headers, [process.pid])
    try:
        for _ in range(300):
            with suppress(urllib.error.URLError, ConnectionError):
                server.ask("GET", "/metadata")
                break
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.wait()


def ours(path: Path) -> Server:
    """Return the platform that local.json describes."""
    platform = Platform(path)
    pids = [pid for role in ("web", "database") for pid in platform.pids[role]]
    host, port = platform.address.hostname or "", platform.address.port or 80
    return Server("HealthCloud", host, port, "/v1/fhir", platform.headers, pids)


def load(server: Server, bundles: Sequence[Path]) -> None:
    """Send the bundles one after the other and print what a resource took."""
    resources = 0
    began, spent = time.perf_counter(), server.cpu()
    for path in bundles:
        bundle = json.loads(path.read_text(encoding="utf-8"))
        server.ask("POST", "", bundle)
        resources += len(bundle["entry"])
    took, used = time.perf_counter() - began, server.cpu() - spent
    print(
        f"{server.name:12} transactions: {resources} resources, {resources / took:8.0f} a second,"
        f" {1000 * used / resources:6.2f} ms CPU each"
    )


@dataclass
class Known:
    """Ids and values that a server's rows ask for."""

    patients: list[dict]
    observations: list[str]

    @classmethod
    def of(cls, server: Server) -> "Known":
        """Ask the server for some of what was loaded."""
        patients = [e["resource"] for e in server.ask("GET", "/Patient?_count=50")["entry"]]
        patients = [p for p in patients if p.get("identifier") and p.get("name")]
        found = server.ask("GET", f"/Observation?code={quote(HEIGHT)}&_count=50")["entry"]
        return cls(patients, [e["resource"]["id"] for e in found])


def rows(known: dict[str, Known]) -> list[Row]:
    """Return the rows: what reads and writes ask for, server by server."""

    def patient(server: Server, n: int) -> dict:
        patients = known[server.name].patients
        return patients[n % len(patients)]

    def get(make: Callable[[Server, int], str]) -> Callable[[Server, int], bytes]:
        return lambda server, n: server.bytes_of("GET", make(server, n))

    def identifier(server: Server, n: int) -> str:
        found = patient(server, n)["identifier"][0]
        return f"/Patient?identifier={quote(found.get('system', ''))}|{quote(found['value'])}"

    def new(server: Server, n: int) -> bytes:
        body = {"resourceType": "Patient", "name": [{"family": f"New{n}"}], "gender": "female"}
        return server.bytes_of("POST", "/Patient", body)

    def measured(server: Server, n: int) -> bytes:
        return server.bytes_of("POST", "/Observation", observation(patient(server, n)["id"], n))

    code, family = f"code={quote(HEIGHT)}&_count=20", "/Observation?subject:Patient.family="
    return [
        Row("read Patient", get(lambda s, n: f"/Patient/{patient(s, n)['id']}")),
        Row("read Observation", get(
            lambda s, n: f"/Observation/{known[s.name].observations[n % 20]}")),
        Row("create Patient", new, 240),
        Row("create Observation", measured, 240),
        Row("identifier search", get(identifier)),
        Row("token search of 20", get(lambda s, n: f"/Observation?{code}"), 240),
        Row("patient, category, sort", get(
            lambda s, n: f"/Observation?patient={patient(s, n)['id']}&category=vital-signs"
            "&_sort=-date&_count=20"), 240, few=True),
        Row("chained family", get(
            lambda s, n: f"{family}{quote(patient(s, n)['name'][0]['family'])}&_count=20"), 160),
        Row("_has", get(
            lambda s, n: f"/Patient?_has:Observation:patient:code={quote(HEIGHT)}&_count=20"),
            160, few=True),
        Row("two _includes", get(
            lambda s, n: f"/Observation?{code}&_include=Observation:subject"
            "&_include=Observation:encounter"), 160, few=True),
        Row("_revinclude", get(
            lambda s, n: f"/Patient?_id={patient(s, n)['id']}"
            "&_revinclude=Encounter:patient"), 160, few=True),
        Row("_total=accurate", get(
            lambda s, n: f"/Observation?code={quote(HEIGHT)}&_count=1&_total=accurate"), 160),
    ]  # fmt: skip


def measure(server: Server, row: Row, clients: int, into: Figures, *, few: bool) -> None:
    """Send one round of a row."""
    count = FEW if few and row.few else row.count
    spent = server.cpu()
    taken = run(
        server.host,
        server.port,
        lambda n: row.make(server, n),
        count=count,
        clients=min(clients, count),
    )
    into.rates.append(taken.rate)
    into.middles.append(taken.percentile(0.5))
    into.tails.append(taken.percentile(0.95))
    into.cpu.append(1000 * (server.cpu() - spent) / count)


def compare(servers: Sequence[Server], clients: int, rounds: int) -> None:
    """Print the table for a number of clients."""
    known = {server.name: Known.of(server) for server in servers}
    print(f"\n{clients} clients: requests/s, p50 and p95 ms, CPU ms; ours, then the peer's")
    for row in rows(known):
        figures = {server.name: Figures() for server in servers}
        for _ in range(rounds):
            for server in servers:
                few = server is not servers[0]
                measure(server, row, clients, figures[server.name], few=few)
        mine, other = (figures[server.name].medians() for server in servers)
        cells = "".join(f"{rate:9.0f}{p50:8.1f}{p95:8.1f}{cpu:8.2f}  "
                        for rate, p50, p95, cpu in (mine, other))  # fmt: skip
        ratios = f"rate × {mine[0] / other[0]:6.2f}  CPU × {mine[3] / other[3]:5.2f}"
        print(f"{row.name:26}{cells} {ratios}")


def main() -> None:
    """Load both, then measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("local", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundles", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    given = parser.parse_args()
    bundles = sorted(given.folder.rglob("*.json"))[: given.bundles]
    with tempfile.TemporaryDirectory() as folder, peer(Path(folder)) as other:
        servers = [ours(given.local), other]
        for server in servers:
            load(server, bundles)
        for clients in given.clients:
            compare(servers, clients, given.rounds)


if __name__ == "__main__":
    main()
