"""How the cost of a request grows with the tenant: CPU at each size, and its ratio to the first.

    HEALTHCLOUD_HOME=… manage.py up                                   (in another terminal)
    python -m benchmarks.fhir_growth $HEALTHCLOUD_HOME/local.json [--sizes 40000 200000 1000000]

Made patients are loaded as transaction bundles until the project holds each size: every patient
has an identifier, a name, an encounter, a condition and vital signs over ten years, of which one
code is common (every tenth resource) and one is rare (a hundred in all). Then the same requests are
sent at one client, in turn, `--rounds` times; CPU is that of web and database, from /proc, the
median of the rounds. Sizes count what this program loads, beside whatever the project has.
"""

import argparse
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from benchmarks.api_requests import CATEGORY, LOINC, UCUM
from benchmarks.fhir_peers import Server, ours
from benchmarks.load import run

SIZES = [40_000, 200_000, 1_000_000]
VITALS = 47  # with patient, encounter and condition: fifty resources a patient
PATIENTS = 8  # in a bundle
RARE = 100
COMMON, SELDOM = "72514-3", "99999-0"
CODES = [COMMON, "8867-4", "8310-5", "9279-1", "29463-7", "39156-5", "8462-4", "8480-6", "2708-6"]
FAMILIES = 5000
BEGAN = date(2016, 1, 1)

Make = Callable[[Server], str]


@dataclass
class Load:
    """What was loaded so far, by a generator that is the same in each run."""

    server: Server
    mark: str
    clients: int
    patients: int = 0
    rare: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    @property
    def resources(self) -> int:
        """Return how many resources were loaded."""
        return self.patients * (VITALS + 3)

    def grow(self, size: int) -> None:
        """Load until there are so many resources, and print what one took."""
        before, began, spent = self.resources, time.perf_counter(), self.server.cpu()
        missing = size - before
        count = -(-missing // (PATIENTS * (VITALS + 3)))
        if count <= 0:
            return
        run(
            self.server.host,
            self.server.port,
            lambda _: self.server.bytes_of("POST", "", self.bundle()),
            count=count,
            clients=min(self.clients, count),
        )
        took, loaded = time.perf_counter() - began, self.resources - before
        cpu = 1000 * (self.server.cpu() - spent) / loaded
        print(
            f"{self.resources:9,} resources; {loaded / took:6.0f} a second, {cpu:.2f} ms CPU each"
        )

    def bundle(self) -> dict[str, object]:
        """Return the next patients as one transaction."""
        entries = [entry for _ in range(PATIENTS) for entry in self._patient()]
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    def _patient(self) -> Iterator[dict[str, object]]:
        number, self.patients = self.patients, self.patients + 1
        rid = f"{self.mark}-{number}"
        yield put(
            {
                "resourceType": "Patient",
                "id": rid,
                "identifier": [{"system": "urn:growth", "value": rid}],
                "name": [{"family": family(number), "given": ["Ada"]}],
                "gender": self.chance.choice(["female", "male"]),
                "birthDate": str(BEGAN - timedelta(days=self.chance.randrange(25_000))),
            }
        )
        subject = {"reference": f"Patient/{rid}"}
        code = {"coding": [{"system": LOINC, "code": "visit"}]}
        for kind, more in (
            ("Encounter", {"status": "finished", "class": {"code": "AMB"}}),
            ("Condition", {"code": code}),
        ):
            yield put({"resourceType": kind, "id": f"{rid}-v", "subject": subject, **more})
        for vital in range(VITALS):
            yield put(self._vital(f"{rid}-{vital}", subject))

    def _vital(self, rid: str, subject: dict[str, str]) -> dict[str, object]:
        code = self.chance.choice(CODES)
        if self.rare < RARE and self.chance.random() < 0.01:
            code, self.rare = SELDOM, self.rare + 1
        return {
            "resourceType": "Observation",
            "id": rid,
            "status": "final",
            "category": [{"coding": [{"system": CATEGORY, "code": "vital-signs"}]}],
            "code": {"coding": [{"system": LOINC, "code": code}]},
            "subject": subject,
            "effectiveDateTime": str(BEGAN + timedelta(days=self.chance.randrange(3650))),
            "valueQuantity": {"value": self.chance.randrange(20, 200), "unit": "1", "code": "1",
                              "system": UCUM},
        }  # fmt: skip


def settle(server: Server) -> None:
    """Wait until the database has tidied up after the load, whose CPU would count as requests'."""
    time.sleep(15)  # it begins soon after a load
    for _ in range(120):
        spent = server.cpu()
        time.sleep(2)
        if server.cpu() - spent < 0.1:
            return


def put(resource: dict[str, object]) -> dict[str, object]:
    """Return an entry that stores a resource under its id."""
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"resource": resource, "request": {"method": "PUT", "url": url}}


def family(number: int) -> str:
    """Return a name that one patient in some thousands has."""
    return f"Growth{number % FAMILIES:04d}x"


def operations(load: Load) -> dict[str, Make]:
    """Return the requests that are measured, each for another patient every time."""
    numbers = itertools.cycle(random.Random(3).choices(range(load.patients), k=500))

    def any_patient() -> int:
        return next(numbers)

    def rid() -> str:
        return f"{load.mark}-{any_patient()}"

    seen = f"code={LOINC}|"
    return {
        "read": lambda s: f"/Observation/{rid()}-3",
        "identifier": lambda s: f"/Patient?identifier=urn:growth|{rid()}",
        "rare token": lambda s: f"/Observation?{seen}{SELDOM}&_count=20",
        "common token": lambda s: f"/Observation?{seen}{COMMON}&_count=20",
        "patient, date sort": lambda s: f"/Observation?patient={rid()}&_sort=-date&_count=20",
        "chained family": lambda s: f"/Observation?subject:Patient.family={family(any_patient())}",
        "_has, rare": lambda s: f"/Patient?_has:Observation:patient:{seen}{SELDOM}&_count=20",
        "_has, common": lambda s: f"/Patient?_has:Observation:patient:{seen}{COMMON}&_count=20",
        "newest of a type": lambda s: "/Observation?_count=20",
    }


def measure(load: Load, requests: int, rounds: int) -> dict[str, float]:
    """Return the CPU of each operation in milliseconds a request."""
    server, made = load.server, operations(load)
    figures: dict[str, list[float]] = {name: [] for name in made}
    for number, (name, make) in itertools.product(range(rounds + 1), made.items()):
        spent = server.cpu()
        wanted = [server.bytes_of("GET", make(server)) for _ in range(requests)]
        run(server.host, server.port, wanted.__getitem__, count=requests, clients=1)
        if number:  # the first round warms up
            figures[name].append(1000 * (server.cpu() - spent) / requests)
    return {name: statistics.median(taken) for name, taken in figures.items()}


def main() -> None:
    """Load each size, measure there, and print the growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("local", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=2)
    given = parser.parse_args()
    load = Load(ours(given.local), f"g{int(time.time()):x}", given.clients)
    results: list[dict[str, float]] = []
    for size in given.sizes:
        load.grow(size)
        settle(load.server)
        results.append(measure(load, given.requests, given.rounds))
        print(json.dumps({name: round(cpu, 3) for name, cpu in results[-1].items()}))
    print(
        f"\n{'CPU ms a request':24}" + "".join(f"{size:>12,}" for size in given.sizes) + "  growth"
    )
    for name in results[0]:
        cells = "".join(f"{result[name]:12.2f}" for result in results)
        print(f"{name:24}{cells}{results[-1][name] / results[0][name]:8.2f}")


if __name__ == "__main__":
    main()
