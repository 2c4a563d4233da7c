"""Compares what was promised with what each door says, from the operation log alone.

python -m benchmarks.storm.checker LOG
"""

import itertools
import sys
from collections import Counter, defaultdict
from datetime import datetime
from pathlib import Path

import jsonschema_rs

from benchmarks.storm.doors import check_doors
from benchmarks.storm.findings import Findings
from benchmarks.storm.journal import Entry, read
from benchmarks.storm.workflows import CALLS, EFFECTS, ENDINGS

TERMINAL = {"workflow.completed": "completed", "workflow.failed": "failed"} | {
    "workflow.canceled": "canceled"
}

_RESTART_SECONDS = 8.0  # what a worker may take to come back on a busy machine
_WORKERS = {"worker", "worker_child", "pause_worker", "older", "older_child"}
_OURS = {"worker", "worker_child", "pause_worker"}
_ALL = {"supervisor", "down"}
_NOBODY = {"workers_all", "database", "backend", "pause_database", *_ALL}


def check(entries: list[Entry], *, lease: float) -> Findings:
    """Look at everything."""
    by_op: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        by_op[entry["op"]].append(entry)
    findings = Findings()
    _answers(by_op, findings)
    _runs(by_op, findings)
    _resources(by_op, findings)
    _calls(by_op, findings)
    _events(by_op, findings)
    _streams(by_op, findings)
    _webhooks(by_op, findings)
    _triggers(by_op, findings)
    _times(by_op, findings, lease)
    _takeovers(by_op, findings, lease)
    _ledger(by_op, findings)
    check_doors(by_op, findings)
    _versions(by_op, findings)
    return findings


def _answers(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    statuses = Counter(entry["status"] for entry in by_op["answer"])
    findings.figures["answers by status (0: none)"] = dict(sorted(statuses.items()))
    kills = Counter(entry["what"] for entry in by_op["kill"])
    findings.figures["killed"] = {"total": sum(kills.values()), **kills}
    for entry in by_op["answer"]:
        if entry["status"] == 500:
            findings.must("no answer is 500", False, f"{entry['route']} {entry.get('body')}"[:300])
        if entry["status"] == 503:
            findings.must("503 says when to come back", entry.get("retry_after"), entry["route"])
    findings.must("every client was answered in the end", True, "")
    for entry in by_op["unanswered"]:
        findings.must("every client was answered in the end", False, entry["message"][:300])
    for entry in by_op["replayed"]:
        same = entry["run"] == entry["again"]
        findings.must("the same key gives the same run", same, str(entry))
    took = sorted(e["took"] for e in by_op["answer"] if e["method"] == "POST" and e["status"] < 300)
    if took:
        findings.figures["POST answered, s"] = _spread(took)


def _runs(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    runs = {entry["run"]["id"]: entry["run"] for entry in by_op["run"]}
    statuses = Counter(f"{_kind(run)} {run['status']}" for run in runs.values())
    findings.figures["runs"] = {"total": len(runs), **dict(sorted(statuses.items()))}
    keys = Counter(entry["run"] for entry in by_op["started"])
    for entry in by_op["started"]:
        run = runs.get(entry["run"])
        findings.must("an accepted run is not lost", run is not None, entry["run"])
        if run is None:
            continue
        wanted = ENDINGS.get(entry["kind"], "completed")
        what = f"{entry['kind']} {run['id']} {run['status']} {run['error']}"
        findings.must("every run ends as it should", run["status"] == wanted, what)
        findings.must("a key starts one run", keys[entry["run"]] == 1, run["id"])
    started = {entry["run"] for entry in by_op["started"]}
    for run in runs.values():
        called = run["trigger"]["kind"] == "api"
        findings.must(
            "no run that nobody was told of", not called or run["id"] in started, run["id"]
        )
    steps: Counter[tuple[str, ...]] = Counter()
    for step in by_op["step"]:
        if step["status"] == "succeeded":
            steps[(step["run"], step["step_id"], step["iteration"] or "")] += 1
    for step_key, count in steps.items():
        findings.must("a step succeeds once", count == 1, f"{step_key}: {count}")
    findings.figures["steps that succeeded"] = len(steps)
    lost = sum(step["status"] == "lost" for step in by_op["step"])
    findings.figures["attempts lost with their worker"] = lost


def _resources(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    found: dict[str, list[Entry]] = defaultdict(list)
    for entry in by_op["resource"]:
        found[entry["value"]].append(entry)
    wanted = set()
    for entry in by_op["run"]:
        run = entry["run"]
        for name in EFFECTS[_kind(run)]:
            value = f"{run['id']}/{name}"
            wanted.add(value)
            rows = found[value]
            ended_early = run["status"] == "canceled"  # whenever that came
            findings.must("each effect is in the store", rows or ended_early, value)
            findings.must("no effect is doubled", len(rows) < 2, f"{value}: {len(rows)}")
            changed = _kind(run) == "update" and name == "make"
            for row in rows:
                version = (row["version"], row["state"])
                right = version == (("2", "changed") if changed else ("1", "made"))
                findings.must("versions are as written", right, f"{value}: {version}")
    for entry in by_op["wrote"]:
        value = f"direct/{entry['key']}"
        wanted.add(value)
        rows = found[value]
        findings.must("a resource that was accepted is there", rows, value)
        findings.must("a repeated request is one resource", len(rows) < 2, value)
    surplus = [value for value in found if value not in wanted and found[value]]
    for value in surplus:
        findings.must("nothing else is in the store", False, value)
    findings.figures["resources"] = sum(len(rows) for rows in found.values())


def _calls(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    keys: dict[str, set[str]] = defaultdict(set)
    owners: dict[str, set[str]] = defaultdict(set)
    for entry in by_op["call"]:
        place = entry["path"].removeprefix("/call/").split("?")[0]
        owners[entry["key"]].add(place)
        if entry["status"] == 200:
            keys[place].add(entry["key"])
    for key, places in owners.items():
        findings.must("a key belongs to one step", key and len(places) == 1, f"{key}: {places}")
    for entry in by_op["run"]:
        run = entry["run"]
        for name in CALLS.get(_kind(run), ()):
            seen = keys[f"{run['id']}/{name}"]
            what = f"{run['id']}/{name}: {len(seen)} keys"
            findings.must("a call outside has one key", len(seen) == 1, what)
    findings.figures["calls outside"] = {
        "made": len(by_op["call"]),
        "effects": sum(len(seen) for seen in keys.values()),
    }


def _events(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    events = sorted((e["event"] for e in by_op["event"]), key=lambda event: event["sequence"])
    numbers = [event["sequence"] for event in events]
    for before, after in itertools.pairwise(numbers):
        findings.must("numbers have no gap and no double", after == before + 1, f"{before} {after}")
    ids = Counter(event["id"] for event in events)
    for event_id, count in ids.items():
        findings.must("an event is there once", count == 1, event_id)
    schemas = {e["type"]: jsonschema_rs.validator_for(e["schema"]) for e in by_op["event_type"]}
    for event in events:
        check = schemas.get(event["type"])
        fits = check is None or check.is_valid(event["payload"])
        what = f"{event['type']} {event['payload']}"
        findings.must("payloads are as their schemas say", fits, what)
    by_run: dict[str, list[Entry]] = defaultdict(list)
    for event in events:
        if run_id := event["payload"].get("run_id"):
            by_run[run_id].append(event)
    for entry in by_op["run"]:
        _events_of(entry["run"], by_run[entry["run"]["id"]], findings)
    succeeded = Counter(s["run"] for s in by_op["step"] if s["status"] == "succeeded")
    for run_id, count in succeeded.items():
        told = sum(event["type"] == "workflow.step.completed" for event in by_run[run_id])
        findings.must("each step is told once", told == count, f"{run_id}: {told} of {count}")
    findings.figures["events"] = len(events)


def _events_of(run: Entry, events: list[Entry], findings: Findings) -> None:
    types = [event["type"] for event in events]
    begun = types.count("workflow.started")
    findings.must("a start is told once", begun == 1, f"{run['id']}: {begun}")
    ends = [TERMINAL[type_] for type_ in types if type_ in TERMINAL]
    findings.must("an end is told once", ends == [run["status"]], f"{run['id']}: {ends}")
    if types and begun and ends:
        first, last = types[0], [t for t in types if t.startswith("workflow.")][-1]
        ordered = first == "workflow.started" and last in TERMINAL
        findings.must("causes come before effects", ordered, f"{run['id']}: {types}")
    if _kind(run) == "data" and run["status"] == "completed":
        fired = types.count("custom.storm.fired")
        findings.must("an event of a step is there once", fired == 1, f"{run['id']}: {fired}")


def _streams(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    wanted = {e["event"]["sequence"] for e in by_op["event"]}
    heard: dict[str, list[int]] = defaultdict(list)
    for entry in by_op["heard"]:
        heard[entry["stream"]].append(entry["sequence"])
    for stream, numbers in heard.items():
        rising = all(a < b for a, b in itertools.pairwise(numbers))
        findings.must("a stream that resumes is in order without doubles", rising, stream)
        missing = sorted(n for n in wanted if n not in set(numbers))
        findings.must(
            "a stream that resumes misses nothing", not missing, f"{stream} {missing[:9]}"
        )
    counts = Counter(entry["stream"] for entry in by_op["reconnect"])
    findings.figures["streams"] = {
        stream: {"heard": len(numbers), "errors": counts[stream]}
        for stream, numbers in heard.items()
    }


def _webhooks(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    taken: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in by_op["hook"]:
        if entry["status"] == 200:
            taken[entry["hook"]][entry["id"]] += 1
    wanted = [
        e["event"]["id"]
        for e in by_op["event"]
        if e["event"]["type"].startswith(("workflow.", "custom.storm."))
    ]
    for entry in by_op["hook"]:
        findings.must("a webhook is signed", entry["signed"], f"{entry['hook']} {entry['id']}")
    figures = {}
    for hook, ids in taken.items():
        missing = [event_id for event_id in wanted if event_id not in ids]
        what = f"{hook}: {len(missing)} {missing[:3]}"
        findings.must("a webhook gets every event", not missing, what)
        unknown = sorted(set(ids) - set(wanted))
        findings.must("a webhook tells of events that are", not unknown, f"{hook}: {unknown[:3]}")
        figures[hook] = {"events": len(ids), "repeated": sum(ids.values()) - len(ids)}
    findings.figures["webhooks"] = figures
    rows = Counter((e["hook"], e["event"]) for e in by_op["delivery"])
    for (hook, event_id), count in rows.items():
        findings.must("an event is one delivery", count == 1, f"{hook} {event_id}")
    for entry in by_op["delivery"]:
        findings.must("every delivery arrived", entry["status"] == "delivered", str(entry))


def _triggers(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    runs = [entry["run"] for entry in by_op["run"]]
    fired = sum(e["event"]["type"] == "custom.storm.fired" for e in by_op["event"])
    heard = sum(_kind(run) == "heard" for run in runs)
    findings.must("an event starts one run", heard == fired, f"{heard} runs of {fired} events")
    direct = {e["value"] for e in by_op["resource"] if e["value"].startswith("direct/")}
    seen = sum(_kind(run) == "watched" for run in runs)
    what = f"{seen} runs of {len(direct)} resources"
    findings.must("a resource starts one run", seen == len(direct), what)


def _times(by_op: dict[str, list[Entry]], findings: Findings, lease: float) -> None:
    """How long runs stood still: between the end of one step and the beginning of the next."""
    steps: dict[str, list[Entry]] = defaultdict(list)
    for step in by_op["step"]:
        if step["finished_at"] and not step["iteration"]:
            steps[step["run"]].append(step)
    kinds = {entry["run"]["id"]: _kind(entry["run"]) for entry in by_op["run"]}
    gaps = []
    for run_id, rows in steps.items():
        if kinds.get(run_id) not in {"create", "long", "update", "transaction"}:
            continue
        rows.sort(key=lambda row: (row["started_at"], row["finished_at"]))
        for before, after in itertools.pairwise(rows):
            gaps.append((_time(after["started_at"]) - _time(before["finished_at"]), run_id))
    gaps.sort()
    if gaps:
        figures = _spread([gap for gap, _ in gaps])
        findings.figures[f"pause between two steps, s (lease {lease:g})"] = figures
        findings.figures["longest pauses"] = [f"{gap:.1f} {run}" for gap, run in gaps[-5:]]


def _takeovers(by_op: dict[str, list[Entry]], findings: Findings, lease: float) -> None:
    """How long after its lease left work was claimed; and whether anyone was there to do it."""
    late = sorted(entry["seconds"] for entry in by_op["taken_over"])
    if late:
        findings.figures["takeover after the lease, s"] = {"n": len(late), **_spread(late)}
    excused = older = 0
    downs = [kill["t"] for kill in by_op["kill"] if kill["what"] in _ALL]
    absent = list(zip(downs, (entry["t"] for entry in by_op["back"]), strict=False))
    for entry in by_op["late"]:
        since = entry["t"] - lease - _RESTART_SECONDS
        around = [k["what"] for k in by_op["kill"] if since <= k["t"] <= entry["t"]]
        around += ["down" for down, back in absent if down <= entry["t"] and since <= back]
        if _NOBODY & set(around) or sum(what in _WORKERS for what in around) > 1:
            excused += 1
            continue
        if by_op["versions"] and _OURS & set(around):
            older += 1  # the other worker has the older code: this one could not take over
            continue
        what = f"{entry['kind']} {entry['work']}: {around}"
        findings.must("left work is taken over within the lease and 2 s", False, what)
    findings.figures["late while nobody was there"] = excused
    if by_op["versions"]:
        findings.figures["late while only the older version was there"] = older


def _versions(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    """Whether two versions of the code really worked, and on the same runs."""
    for entry in by_op["versions"]:
        findings.figures[f"claims beside {entry['older']}"] = entry["claims"]
        findings.figures["runs and lanes carried, by both"] = [entry["carried"], entry["both"]]
        findings.must("both versions claim", len(entry["claims"]) == 2, str(entry["claims"]))
        findings.must("runs go from one version to the other", entry["both"] > 0, str(entry))


def _ledger(by_op: dict[str, list[Entry]], findings: Findings) -> None:
    for entry in by_op["settled"]:
        findings.must("nothing is stuck", not entry["left"], str(entry["left"][:5]))
    for entry in by_op["left"]:
        what = f"{entry['kind']} {entry['ref']} {entry['error']}"
        findings.must("no dead letters", entry["state"] != "dead", what)
        findings.must("no work is forgotten", not entry["due"] or entry["state"] == "dead", what)


def _kind(run: Entry) -> str:
    return str(run["workflow_id"]).removeprefix("storm_")


def _time(text: str) -> float:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        f"p{part}": round(ordered[min(len(ordered) - 1, len(ordered) * part // 100)], 3)
        for part in (50, 95, 99, 100)
    }


def report(findings: Findings) -> bool:
    """Print figures and rules; return whether all hold."""
    for name, value in findings.figures.items():
        print(f"{name}: {value}")
    print()
    for rule, cases in sorted(findings.broken.items()):
        print(f"{'FAILED' if cases else 'ok    '} {rule}" + (f" ({len(cases)})" if cases else ""))
        for case in cases[:8]:
            print(f"         {case}")
    return not any(findings.broken.values())


if __name__ == "__main__":
    log = read(Path(sys.argv[1]))
    settings = next(entry for entry in log if entry["op"] == "settings")
    raise SystemExit(not report(check(log, lease=settings["lease"])))
