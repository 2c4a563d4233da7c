"""The doors beside each other: what list, run, steps, timeline, usage and trail say of one run."""

from collections import Counter, defaultdict

from benchmarks.storm.findings import Findings
from benchmarks.storm.journal import Entry

_SAID_TWICE = ("status", "output", "error", "started_at", "finished_at", "version", "restarts")
# An attempt that is tried again stays `retrying`; the next one is a row of its own.
_ENDED = {"succeeded", "failed", "skipped", "lost", "canceled", "retrying"}
ByOp = dict[str, list[Entry]]


def check_doors(by_op: ByOp, findings: Findings) -> None:
    """Look at what is said of one thing in several places."""
    steps: dict[str, list[Entry]] = defaultdict(list)
    for step in by_op["step"]:
        steps[step["run"]].append(step)
    runs = {entry["run"]["id"]: entry["run"] for entry in by_op["run"]}
    for entry in by_op["door"]:
        _run(runs[entry["run"]], entry, steps[entry["run"]], findings)
    _trail(by_op, runs, findings)
    _usage(by_op, runs, findings)


def _run(listed: Entry, entry: Entry, steps: list[Entry], findings: Findings) -> None:
    run_id, alone, timeline = listed["id"], entry["alone"], entry["timeline"]
    for name in _SAID_TWICE:
        same = listed[name] == alone[name]
        findings.must("list and run say the same", same, f"{run_id}.{name}")
    findings.must("the timeline has the run's end", timeline["status"] == alone["status"], run_id)
    rows = Counter(_attempt(step) for step in steps)
    bars = Counter(_attempt(bar) for bar in timeline["data"])
    findings.must("the timeline has every attempt", rows == bars, f"{run_id}: {rows} {bars}")
    times = [alone["created_at"], alone["started_at"] or alone["created_at"], alone["finished_at"]]
    ordered = None not in times and times == sorted(times)
    findings.must("a run begins and ends in this order", ordered, f"{run_id}: {times}")
    left = [f"{step['path']} {step['status']}" for step in steps if step["status"] not in _ENDED]
    findings.must("no attempt is left in a run that ended", not left, f"{run_id}: {left}")


def _attempt(row: Entry) -> tuple[object, ...]:
    return row["path"], row["iteration"], row["attempt"], row["status"]


def _trail(by_op: ByOp, runs: dict[str, Entry], findings: Findings) -> None:
    noted = Counter(entry["target"] for entry in by_op["audit"])
    for run_id, run in runs.items():
        if run["trigger"]["kind"] == "api":
            what = f"{run_id}: {noted[run_id]}"
            findings.must("a start is in the audit trail once", noted[run_id] == 1, what)


def _usage(by_op: ByOp, runs: dict[str, Entry], findings: Findings) -> None:
    if len(by_op["usage"]) == 2:
        before, after = (entry["runs"] for entry in by_op["usage"])
        what = f"{after - before} of {len(runs)}"
        findings.must("usage counts every run once", after - before == len(runs), what)
