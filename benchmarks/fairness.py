"""How long one run of a tenant takes while another tenant has thousands of runs due.

    HEALTHCLOUD_HOME=… manage.py up                                   (in another terminal)
    python -m benchmarks.fairness $HEALTHCLOUD_HOME/local.json [--runs 10000]

The sandbox's tenant queues runs of ten searches without waiting for any; then the production's
tenant starts runs of one step, each of which a worker has to carry, one after the other, and waits
for each. They are timed before, and while the others are due.
"""

import argparse
import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.api_requests import Client, Platform

SLUG = "bench-fairness"
CLIENTS = 8
SEARCH = {"kind": "fhir_search", "with": {"query": "Patient?_count=1"}}
LOUD = [{"id": f"search{number}", **SEARCH} for number in range(10)]
QUIET = [{"id": "one", "kind": "transform", "with": {"n": 1}}]


def platform_of(local: Path, key: str) -> Platform:
    """Return the platform as seen with one of its keys."""
    platform = Platform(local)
    described = json.loads(local.read_text(encoding="utf-8"))
    platform.headers["Authorization"] = f"Bearer {described[key]}"
    return platform


def publish(platform: Platform, steps: list[dict[str, object]]) -> None:
    """Publish a workflow in a tenant; its time limit makes each run a worker's."""
    definition = {"slug": SLUG, "name": "Benchmark", "timeout": "6h", "steps": steps}
    client = Client(platform)
    client.send("POST", "/v1/workflows", definition, expected=(200, 201, 409))
    client.send("PUT", f"/v1/workflows/{SLUG}", definition)
    client.send("POST", f"/v1/workflows/{SLUG}/publish", {}, expected=(200, 201, 409))


def queue(platform: Platform, count: int) -> None:
    """Start runs and wait for none."""
    client = Client(platform)
    for _ in range(count):
        body = {"workflow_id": SLUG, "input": {}}
        client.send("POST", "/v1/workflows/run", body, expected=(202,))


def timed(platform: Platform, count: int) -> list[float]:
    """Start runs one after the other; return what each took in milliseconds."""
    client, taken = Client(platform), []
    for _ in range(count):
        began = time.perf_counter()
        body = {"workflow_id": SLUG, "input": {}, "wait": 30}
        answer = client.send("POST", "/v1/workflows/run", body, expected=(200, 202))
        if b'"completed"' not in answer:
            raise SystemExit(f"a run did not complete in 30 s: {answer[:300]!r}")
        taken.append(1000 * (time.perf_counter() - began))
    return taken


def told(name: str, taken: list[float]) -> None:
    """Print a median and the worst."""
    print(
        f"{name:40} p50 {statistics.median(taken):8.1f} ms, worst {max(taken):8.1f} ms", flush=True
    )


def main() -> None:
    """Time a quiet neighbor, then one beside a loud one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("local", type=Path)
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    loud = platform_of(options.local, "sandbox_key")
    quiet = platform_of(options.local, "production_key")
    publish(loud, LOUD)
    publish(quiet, QUIET)
    timed(quiet, 5)
    told("alone", timed(quiet, 20))
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(lambda _: queue(loud, options.runs // CLIENTS), range(CLIENTS)))
    left = _due(loud)
    told(f"beside {left} runs of another tenant", timed(quiet, 20))
    print(f"still due of the other tenant afterwards: {_due(loud)}")


def _due(platform: Platform) -> int:
    """Return how many runs of the benchmark are queued."""
    path = f"/v1/workflows/runs?workflow={SLUG}&status=queued&limit=1"
    return int(json.loads(Client(platform).send("GET", path))["meta"]["total"] or 0)


if __name__ == "__main__":
    main()
