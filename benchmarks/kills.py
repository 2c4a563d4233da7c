"""Runs of every kind over HTTP while processes are killed at random; then everything is compared.

    python -m benchmarks.kills [--kills 200] [--clients 4] [--lease 4] [--only web,worker]

Starts the whole platform in a home of its own, clients that start runs and write resources, a
webhook receiver, an SSE and a websocket subscriber, and a killer: web, workers and their children,
scheduler, cache, database and its sessions get SIGKILL, workers, web and database are stopped past
the lease, the broker is flushed; the supervisor is killed with all that it runs, or asked to stop,
and started again. With `--rabbitmq` a RabbitMQ server of its own carries the messages, and is
killed and emptied too. With `--older COMMIT` a worker of that commit works (and is killed) beside
one of this, on the same runs. Everything that is asked, answered, heard and killed goes into an
operation log; afterwards what the API, the events, the FHIR store and the ledger say is written
into it too, and `benchmarks.storm.checker` compares, from the log alone. Exits with 1 when a rule
broke.
"""

import argparse
import shutil
import tempfile
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.storm.checker import check, report
from benchmarks.storm.clients import Crowd
from benchmarks.storm.collector import collect, note_usage, recover_webhooks, settle
from benchmarks.storm.journal import Journal, read
from benchmarks.storm.killer import Killer
from benchmarks.storm.older import OlderWorkers
from benchmarks.storm.platform import Client, Json, Platform
from benchmarks.storm.rabbit import Rabbit
from benchmarks.storm.receivers import Listener, Outside
from benchmarks.storm.workflows import definitions
from healthcloud.runtime.ports import free_port

TAKEOVER_SECONDS = 2.0
_OVERDUE = """
SELECT id, token, kind, extract(epoch FROM clock_timestamp() - lease_until)::float8
  FROM ledger_duework WHERE state = 'running' AND lease_until < clock_timestamp()
"""


class Watcher:
    """Looks into the ledger for work whose lease ended and that nobody took over in time.

    Time in which the database was down, or no worker was there to take over, does not count.
    """

    def __init__(self, state: Json, journal: Journal) -> None:
        self.url = state["database_admin_url"]
        self.journal = journal
        self.ending = threading.Event()
        self.worst: dict[tuple[int, int], float] = {}
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while not self.ending.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True, connect_timeout=2) as connection:
                    while not self.ending.wait(0.25):
                        for work, token, kind, late in connection.execute(_OVERDUE).fetchall():
                            self._late(work, token, kind, late)
            except psycopg.Error:
                self.ending.wait(0.5)

    def _late(self, work: int, token: int, kind: str, late: float) -> None:
        before = self.worst.get((work, token), 0.0)
        self.worst[(work, token)] = max(before, late)
        if late > TAKEOVER_SECONDS >= before:
            self.journal.note("late", work=work, kind=kind, seconds=late)

    def stop(self) -> None:
        """Stop looking, and write down how late each takeover was."""
        self.ending.set()
        self.thread.join(timeout=5)
        for (work, token), seconds in self.worst.items():
            self.journal.note("taken_over", work=work, token=token, seconds=seconds)


def prepare(client: Client, outside: Outside) -> dict[str, str]:
    """Create the workflows and the webhooks; return the webhooks' ids by name."""
    for definition in definitions(outside.url):
        body = {**definition, "publish": True}
        client.ask("POST", "workflows", body, key=str(uuid.uuid4()))
    hooks = {}
    for name in ("steady", "flaky"):
        body = {"url": f"{outside.url}/hook/{name}", "types": ["workflow.*", "custom.storm.*"]}
        hook = client.ask("POST", "webhooks", body, key=str(uuid.uuid4()))
        outside.trust(name, hook["secret"])
        hooks[name] = hook["id"]
    return hooks


def storm(
    platform: Platform,
    journal: Journal,
    rabbit: Rabbit | None,
    older: OlderWorkers | None,
    options: argparse.Namespace,
) -> None:
    """Start, kill, wait, and write everything down."""
    state = platform.state
    journal.note("settings", lease=options.lease, seed=options.seed, clients=options.clients)
    client = Client(state, journal, patience=300)
    outside = Outside(journal)
    hooks = prepare(client, outside)
    newest = client.ask("GET", "events?limit=1&type=*,fhir.*")["data"]
    after = newest[0]["sequence"] if newest else 0
    listeners = [Listener(name, state, journal, after) for name in ("sse", "websocket")]
    if older is not None:
        older.start(state)
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    note_usage(client, journal)
    crowd = Crowd(state, journal, clients=options.clients, pause=options.pause)
    watcher = Watcher(state, journal)
    Killer(
        platform,
        journal,
        kills=options.kills,
        pause=options.every,
        seed=options.seed,
        only=options.only,
        rabbit=rabbit,
        older=older,
    ).run()
    time.sleep(2)
    crowd.stop()
    settle(client, journal, seconds=300)
    recover_webhooks(client, journal, hooks)
    time.sleep(3)
    watcher.stop()
    collect(client, journal, state, after=after, since=since)
    if older is not None:
        older.note(journal, state)
    for listener in listeners:
        listener.stop()
    outside.stop()


def main() -> int:
    """Read the options, run the storm, check the log."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--every", type=float, default=4.0, help="seconds between kills, about")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between runs of a client")
    parser.add_argument("--lease", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="kinds of kills, separated by commas")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--rabbitmq", action="store_true", help="RabbitMQ is the broker, and dies")
    parser.add_argument("--older", default="", help="a commit whose workers work beside ours")
    options = parser.parse_args()
    home = (options.home or Path(tempfile.mkdtemp(prefix="healthcloud-storm-"))).resolve()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    home.chmod(0o755)
    rabbit = Rabbit(home) if options.rabbitmq else None
    url = rabbit.url if rabbit is not None else ""
    older = OlderWorkers(options.older, home) if options.older else None
    port, workers = options.port or free_port(), 1 if older is not None else 2
    platform = Platform(home, port, lease=options.lease, broker=url, workers=workers)
    log = home / "operations.jsonl"
    try:
        if rabbit is not None:
            rabbit.start()
        platform.start()
        storm(platform, Journal(log), rabbit, older, options)
    finally:
        if older is not None:
            older.stop()
        platform.stop()
        if rabbit is not None:
            rabbit.stop()
    print(f"log: {log}")
    return 0 if report(check(read(log), lease=options.lease)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
