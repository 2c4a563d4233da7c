"""Runs of workflows beside a floor written by hand, in one sitting on one database.

    DATABASE_URL=postgresql://… python -m benchmarks.workflow_runs [--runs 200] [--workers 2]

Ours: `POST /v1/workflows/run` as the service does it (run, event, due work, audit in one commit),
then a worker process that carries three `fhir_search` steps to the end. The floor: the same three
steps as bare psycopg, one commit a step (step row, event row, cursor of the run), no ORM, no
tenancy, no queue. Prints runs/s, p50 and p95 of start → finished, and the ratio to the floor.
Makes a database of its own and drops it.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg import sql

ROOT = Path(__file__).resolve().parents[1]
NAME = "bench_workflow_runs"
DEFINITION = {
    "slug": "three",
    "name": "Three steps",
    "steps": [
        {"id": f"s{n}", "kind": "fhir_search", "with": {"query": "Patient?_count=1"}}
        for n in range(3)
    ],
}


def percentiles(seconds: list[float]) -> str:
    """Return p50 and p95 in milliseconds."""
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(len(ordered) * 0.95))]
    return f"p50 {statistics.median(ordered) * 1000:.1f} ms  p95 {p95 * 1000:.1f} ms"


def floor(url: str, runs: int) -> float:
    """Carry runs of three steps with bare psycopg and return runs per second."""
    taken = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE f_run (id bigserial PRIMARY KEY, step int, done bool)")
        connection.execute("CREATE TABLE f_step (run bigint, step int, output jsonb)")
        connection.execute("CREATE TABLE f_event (id bigserial PRIMARY KEY, payload jsonb)")
        began = time.perf_counter()
        for _ in range(runs):
            started = time.perf_counter()
            row = connection.execute(
                "INSERT INTO f_run (step, done) VALUES (0, false) RETURNING id"
            ).fetchone()
            assert row is not None
            for step in range(3):
                with connection.transaction(), connection.pipeline():
                    connection.execute("INSERT INTO f_step VALUES (%s, %s, '{}')", [row[0], step])
                    connection.execute("INSERT INTO f_event (payload) VALUES ('{}')")
                    connection.execute(
                        "UPDATE f_run SET step = %s, done = %s WHERE id = %s",
                        [step + 1, step == 2, row[0]],
                    )
            taken.append(time.perf_counter() - started)
        rate = runs / (time.perf_counter() - began)
    print(f"floor       {rate:7.1f} runs/s  {percentiles(taken)}")
    return rate


def ours(runs: int, workers: int) -> float:
    """Start runs, let worker processes carry them, and return runs per second."""
    import django

    django.setup()
    from healthcloud.actors import SYSTEM
    from healthcloud.organizations.models import Environment, Organization, Project
    from healthcloud.tenancy.provisioning import create_tenant, prepare
    from healthcloud.tenancy.scope import tenant_scope
    from workflows import runs as service
    from workflows.models import Run
    from workflows.services import create_workflow

    prepare(report=lambda line: None)
    organization = Organization.objects.create(id="org_bench", name="Bench", slug="bench")
    environment = Environment.objects.create(
        id="env_bench", organization=organization, kind="sandbox", status="active"
    )
    create_tenant(environment)
    project = Project.objects.create(
        id="proj_bench", organization=organization, name="Bench", slug="bench"
    )
    scope = environment.scope(project)
    with tenant_scope(scope):
        create_workflow(definition=DEFINITION, actor=SYSTEM, now=datetime.now(UTC), publish=True)

    def start() -> None:
        with tenant_scope(scope):
            service.start(actor=SYSTEM, workflow="three", input={}, now=datetime.now(UTC))

    def left() -> int:
        with tenant_scope(scope):
            return Run.objects.exclude(status="completed").count()

    def finish() -> None:
        while left():
            time.sleep(0.002)

    command = [sys.executable, "-c", WORKER]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(workers)]
    try:
        start()
        finish()
        one_by_one = []
        for _ in range(min(runs, 60)):
            began = time.perf_counter()
            start()
            finish()
            one_by_one.append(time.perf_counter() - began)
        print(f"ours, one by one: {1 / statistics.mean(one_by_one):7.1f} runs/s  "
              f"{percentiles(one_by_one)}")  # fmt: skip
        began = time.perf_counter()
        for _ in range(runs):
            start()
        accepted = time.perf_counter() - began
        finish()
        rate = runs / (time.perf_counter() - began)
        print(f"ours, at once:    {rate:7.1f} runs/s  (accepted {runs / accepted:.1f}/s)")
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return rate


WORKER = """
import time, django
django.setup()
from healthcloud.ledger import doorbell, worker
doorbell.ring = lambda *a, **k: False
while True:
    if not worker.drain(["steps"], limit=1000):
        time.sleep(0.002)
"""


def main() -> None:
    """Make the database, measure both, print the ratio, drop the database."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    maintenance = os.environ["DATABASE_URL"]
    url = maintenance.rpartition("/")[0] + f"/{NAME}"
    name = sql.Identifier(NAME)
    with psycopg.connect(maintenance, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        roles = []
        os.environ.update(DATABASE_URL=url, DJANGO_SETTINGS_MODULE="healthcloud.settings")
        try:
            slow = floor(url, options.runs)
            rate = ours(options.runs, options.workers)
            print(f"ratio to the floor: {rate / slow:.2f}")
            with psycopg.connect(url) as bench:
                rows = bench.execute("SELECT schema_name FROM organizations_environment").fetchall()
                roles = [row[0] for row in rows]
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
            for role in roles:
                admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


if __name__ == "__main__":
    main()
