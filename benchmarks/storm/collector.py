"""After the storm: wait until all is quiet, then write into the log what each door says now."""

import time
import uuid
from datetime import UTC, datetime
from urllib.parse import quote

import psycopg

from benchmarks.storm.journal import Journal
from benchmarks.storm.platform import Client, Json
from benchmarks.storm.workflows import SYSTEM

_STEP = (
    *("step_id", "path", "attempt", "status", "iteration"),
    *("started_at", "finished_at", "kind"),
)
OPEN = ["queued", "running", "waiting"]


def settle(client: Client, journal: Journal, *, seconds: float) -> None:
    """Wait until no run is under way; what is left then is written down as stuck.

    Decides what a client gave up waiting for.
    """
    deadline = time.monotonic() + seconds
    left: list[str] = []
    while time.monotonic() < deadline:
        left = [row["id"] for s in OPEN for row in client.pages(f"workflows/runs?status={s}")]
        if not left:
            break
        for task in client.pages("tasks?status=open"):
            if task["run_id"] in left:
                place = f"tasks/{task['id']}/decide"
                client.ask("POST", place, {"decision": "approved"}, key=str(uuid.uuid4()))
        time.sleep(1)
    journal.note("settled", left=left)


def recover_webhooks(client: Client, journal: Journal, hooks: dict[str, str]) -> None:
    """Wake paused webhooks, wait until nothing is pending, and write down what was delivered."""
    for name, hook in hooks.items():
        found = client.ask("GET", f"webhooks/{hook}")
        if found["status"] != "active":
            journal.note("hook_paused", hook=name, status=found["status"])
            body = {"status": "active"}
            client.ask("PATCH", f"webhooks/{hook}", body, key=str(uuid.uuid4()))
    deadline = time.monotonic() + 420
    while time.monotonic() < deadline:
        waiting = [_pending(client, hook) for hook in hooks.values()]
        if not any(waiting):
            break
        time.sleep(2)
    for name, hook in hooks.items():
        for row in client.pages(f"webhooks/{hook}/deliveries"):
            facts = {"event": row["event"]["id"], "status": row["status"]}
            journal.note("delivery", hook=name, attempts=len(row["attempts"]), **facts)


def _pending(client: Client, hook: str) -> int:
    answer = client.ask("GET", f"webhooks/{hook}/deliveries?status=pending&limit=100")
    now = datetime.now(UTC).isoformat()
    for row in answer["data"]:
        if (row["next_attempt_at"] or now) > now:  # a long pause after a failure: ask at once
            place = f"webhooks/{hook}/deliveries/{row['id']}/redeliver"
            client.ask("POST", place, {}, key=str(uuid.uuid4()))
    return len(answer["data"])


def collect(client: Client, journal: Journal, state: Json, *, after: int, since: str) -> None:
    """Write down runs, steps, events, resources with their versions, and what the ledger holds."""
    _runs(client, journal, since)
    for kind in client.ask("GET", "event-types")["data"]:
        journal.note("event_type", type=kind["type"], schema=kind["schema"])
    number = after
    while True:
        page = client.ask("GET", f"events?after={number}&limit=100&type=*,fhir.*")["data"]
        rows = sorted(page, key=lambda row: row["sequence"])
        for row in rows:
            journal.note("event", event=row)
        if not rows:
            break
        number = rows[-1]["sequence"]
    _resources(client, journal)
    _ledger(journal, state)


def _runs(client: Client, journal: Journal, since: str) -> None:
    """Write down what list, run, steps, timeline, trail and usage say of the runs."""
    for run in client.pages(f"workflows/runs?since={since}"):
        if not run["workflow_id"].startswith("storm_") and run["workflow_id"] != "uti_screening":
            continue
        journal.note("run", run=run)
        for step in client.pages(f"workflows/runs/{run['id']}/steps"):
            journal.note("step", run=run["id"], **{name: step.get(name) for name in _STEP})
        alone = client.ask("GET", f"workflows/runs/{run['id']}")
        timeline = client.ask("GET", f"workflows/runs/{run['id']}/timeline")
        journal.note("door", run=run["id"], alone=alone, timeline=timeline)
    for noted in client.pages(f"audit-events?action=workflow.run&since={since}"):
        journal.note("audit", target=noted["target"]["id"])
    note_usage(client, journal)


def note_usage(client: Client, journal: Journal) -> None:
    """Write down how many runs were counted so far."""
    days = client.ask("GET", "usage")["data"]
    journal.note("usage", runs=sum(day["workflow_runs"] for day in days))


def _resources(client: Client, journal: Journal) -> None:
    path = f"fhir/Basic?identifier={quote(SYSTEM)}|&_count=200&_sort=_id"
    while path:
        bundle = client.ask("GET", path)
        for item in bundle.get("entry", []):
            resource = item["resource"]
            journal.note(
                "resource",
                id=resource["id"],
                value=resource["identifier"][0]["value"],
                version=resource["meta"]["versionId"],
                state=resource["code"].get("text"),
            )
        links = [link["url"] for link in bundle.get("link", []) if link["relation"] == "next"]
        path = links[0].split("/v1/", 1)[1] if links else ""


def _ledger(journal: Journal, state: Json) -> None:
    """Write down what is left in the ledger: dead letters, and work that nobody finished."""
    with psycopg.connect(state["database_admin_url"]) as connection:
        rows = connection.execute(
            "SELECT kind, ref, state, attempts, last_error, due_at < now() FROM ledger_duework"
        ).fetchall()
    for kind, ref, status, attempts, error, due in rows:
        facts = {"kind": kind, "ref": ref, "state": status, "attempts": attempts}
        journal.note("left", error=error, due=due, **facts)
