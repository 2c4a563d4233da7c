"""Clients that start runs of every kind, send signals, decide, cancel, replay, and write resources.

Each remembers nothing but what it was answered: a 2xx is a promise that the checker holds the
platform to.
"""

import random
import threading
import time
import uuid

from benchmarks.storm.journal import Journal
from benchmarks.storm.platform import Client, Json, Unanswered
from benchmarks.storm.workflows import PATIENTS, STARTED, SYSTEM, WATCHED


class Crowd:
    """Some clients at once, each starting one run after the other until told to stop."""

    def __init__(self, state: Json, journal: Journal, *, clients: int, pause: float) -> None:
        self.state = state
        self.journal = journal
        self.pause = pause
        self.ending = threading.Event()
        self.threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(clients)
        ]
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        """Let each client finish what it has begun."""
        self.ending.set()
        for thread in self.threads:
            thread.join(timeout=180)

    def _run(self, number: int) -> None:
        client = Client(self.state, self.journal)
        chance = random.Random(number)
        turns = list(STARTED)
        chance.shuffle(turns)
        count = 0
        while not self.ending.is_set():
            kind = turns[count % len(turns)]
            count += 1
            try:
                self._start(client, kind, chance)
                if chance.random() < 0.3:
                    self._write(client)
            except Unanswered as error:
                self.journal.note("unanswered", kind=kind, message=str(error))
            self.ending.wait(self.pause * chance.uniform(0.5, 1.5))

    def _start(self, client: Client, kind: str, chance: random.Random) -> None:
        slug = kind if kind == "uti_screening" else f"storm_{kind}"
        key = str(uuid.uuid4())
        body: Json = {"workflow_id": slug, "input": {}}
        if kind == "timer":
            body["input"] = {"pause": f"{chance.randint(1, 25)}s"}
        if kind == "uti_screening":
            body["input"] = {"patient_id": chance.choice(PATIENTS)}
        run = client.ask("POST", "workflows/run", body, key=key)
        self.journal.note("started", kind=kind, run=run["id"], key=key)
        if chance.random() < 0.2:
            again = client.ask("POST", "workflows/run", body, key=key)
            self.journal.note("replayed", run=run["id"], again=again["id"])
        if kind == "signal":
            self._signal(client, run["id"])
        if kind == "approval":
            self._decide(client, run["id"])
        if kind == "canceled":
            self._cancel(client, run["id"])

    def _signal(self, client: Client, run_id: str) -> None:
        body = {"name": "go", "payload": {"n": 1}}
        client.ask("POST", f"workflows/runs/{run_id}/signal", body, key=str(uuid.uuid4()))

    def _decide(self, client: Client, run_id: str) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            tasks = client.ask("GET", f"tasks?run_id={run_id}&status=open")["data"]
            if tasks:
                place = f"tasks/{tasks[0]['id']}/decide"
                client.ask("POST", place, {"decision": "approved"}, key=str(uuid.uuid4()))
                return
            time.sleep(0.5)
        self.journal.note("unanswered", kind="approval", message=f"no task for {run_id}")

    def _cancel(self, client: Client, run_id: str) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            if client.ask("GET", f"workflows/runs/{run_id}")["status"] == "waiting":
                break
            time.sleep(0.5)
        client.ask("POST", f"workflows/runs/{run_id}/cancel", {}, key=str(uuid.uuid4()))

    def _write(self, client: Client) -> None:
        """Write a resource as a client does; a trigger starts a run for each."""
        key = str(uuid.uuid4())
        resource = {
            "resourceType": "Basic",
            "code": {"coding": [WATCHED]},
            "identifier": [{"system": SYSTEM, "value": f"direct/{key}"}],
        }
        stored = client.ask("POST", "fhir/Basic", resource, key=key)
        self.journal.note("wrote", key=key, id=stored["id"])
