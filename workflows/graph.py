"""A run as a graph and as a timeline: the definition's steps with what became of each. Pure."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Protocol

from workflows.definition import Definition, Step

Json = dict[str, Any]


class Attempt(Protocol):
    """What is read of a row of a step."""

    path: str
    iteration: str
    status: str
    attempt: int
    started_at: datetime
    finished_at: datetime | None


def graph(definition: Definition, attempts: Iterable[Attempt]) -> Json:
    """Return `{"nodes", "edges"}`: each step once, with its state over all items and rounds."""
    rows: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        rows.setdefault(attempt.path, []).append(attempt)
    nodes = [_node(step, rows.get(step.path, [])) for step in definition.walk()]
    edges = list(_edges(definition.steps, None, ""))
    edges += list(_edges(definition.on_failure, None, "on_failure"))
    return {"nodes": nodes, "edges": edges}


def _node(step: Step, rows: list[Attempt]) -> Json:
    latest: dict[str, Attempt] = {}
    for row in rows:
        known = latest.get(row.iteration)
        if known is None or row.attempt >= known.attempt:
            latest[row.iteration] = row
    counts: dict[str, int] = {}
    for row in latest.values():
        counts[row.status] = counts.get(row.status, 0) + 1
    return {
        "step_id": step.id,
        "path": step.path,
        "kind": step.kind,
        "name": step.name,
        "status": _status(counts),
        "counts": counts,
        "attempts": len(rows),
        "duration_ms": _total(latest.values()),
    }


def _status(counts: dict[str, int]) -> str:
    """Return the one word for all items and rounds: what goes on, else the worst."""
    order = ("running", "waiting", "retrying", "failed", "canceled", "succeeded", "skipped", "lost")
    return next((status for status in order if counts.get(status)), "not_reached")


def _total(rows: Iterable[Attempt]) -> int | None:
    spans = [r.finished_at - r.started_at for r in rows if r.finished_at is not None]
    return round(sum(span.total_seconds() for span in spans) * 1000) if spans else None


def _edges(steps: tuple[Step, ...], before: str | None, label: str) -> Iterator[Json]:
    previous = before
    for step in steps:
        if previous is not None or label:
            yield {"from": previous, "to": step.path, "label": label or None}
        label = ""
        for index, branch in enumerate(step.branches):
            yield from _edges(branch.steps, step.path, branch.name or branch.when or str(index))
        yield from _edges(step.otherwise, step.path, "otherwise")
        yield from _edges(step.steps, step.path, "each" if step.kind == "map" else "round")
        yield from _edges(step.on_timeout or (), step.path, "on_timeout")
        yield from _edges(step.on_error or (), step.path, "on_error")
        yield from _edges(step.compensate or (), step.path, "compensate")
        previous = step.path


def timeline(attempts: Iterable[Attempt], began: datetime) -> list[Json]:
    """Return the attempts in the order in which they began, placed in time."""
    ordered = sorted(attempts, key=lambda row: row.started_at)
    return [
        {
            "path": row.path,
            "iteration": row.iteration or None,
            "attempt": row.attempt,
            "status": row.status,
            "offset_ms": max(0, round((row.started_at - began).total_seconds() * 1000)),
            "duration_ms": _total([row]),
        }
        for row in ordered
    ]
