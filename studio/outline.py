"""A workflow's steps as an outline, and a run laid over it; pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from studio.display import duration_between
from workflows.definition import Definition, Step


@dataclass(slots=True)
class Node:
    """One step of the outline, with the blocks it holds and, on a run, its attempts."""

    step: Step
    blocks: "list[Block]" = field(default_factory=list)
    attempts: list[Any] = field(default_factory=list)
    status: str = ""
    started_at: datetime | None = None
    duration_ms: float | None = None
    offset: float = 0.0
    width: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def repeated(self) -> bool:
        """Whether the step ran several times: in items of a map or rounds of a loop."""
        return sum(self.counts.values()) > 1

    @property
    def summary(self) -> str:
        """One line of what the step is about, from its arguments."""
        return summarize(self.step)

    @property
    def shown_input(self) -> object:
        """The latest attempt's input, unless the step is sensitive."""
        return None if self.step.sensitive or not self.attempts else self.last.input

    @property
    def shown_output(self) -> object:
        """The latest attempt's output, unless the step is sensitive."""
        return None if self.step.sensitive or not self.attempts else self.last.output

    @property
    def last(self) -> Any:  # noqa: ANN401 - a StepRun or None
        """The latest attempt."""
        return self.attempts[-1] if self.attempts else None


@dataclass(slots=True)
class Block:
    """Steps that a step holds: a branch with its condition, `otherwise`, or a handler."""

    title: str
    condition: str
    nodes: list[Node]


SUMMARY_ARGUMENTS = (
    "items",
    "until",
    "workflow",
    "url",
    "query",
    "reference",
    "agent",
    "connector",
    "model",
    "type",
    "title",
    "duration",
    "signal",
    "event",
    "message",
)


_URGENCY = ("running", "waiting", "retrying", "failed")
"""Of a step that ran for many items, the state that is shown: what goes on, else the worst."""


def summarize(step: Step) -> str:
    """Return the argument that says most about a step."""
    for name in SUMMARY_ARGUMENTS:
        value = step.arguments.get(name)
        if isinstance(value, str) and value:
            action = step.arguments.get("action")
            return f"{value} · {action}" if action else value
    resource = step.arguments.get("resource")
    if isinstance(resource, Mapping):
        return str(resource.get("resourceType", ""))
    return ", ".join(list(step.arguments)[:4])


def outline(steps: Sequence[Step]) -> list[Node]:
    """Return the outline of a sequence of steps."""
    return [Node(step=step, blocks=list(_blocks(step))) for step in steps]


def _blocks(step: Step) -> Iterator[Block]:
    for number, branch in enumerate(step.branches, start=1):
        untitled = "When" if branch.when else f"Branch {number}"
        yield Block(branch.name or untitled, branch.when, outline(branch.steps))
    repeated = "For each item" if step.kind == "map" else "Each round"
    until = str(step.arguments.get("until", "")) if step.kind == "loop" else ""
    if step.steps:
        yield Block(repeated, f"until {until}" if until else "", outline(step.steps))
    handlers = (
        ("Otherwise", step.otherwise),
        ("When the deadline passes", step.on_timeout or ()),
        ("When it fails", step.on_error or ()),
        ("Undone by, if the run fails later", step.compensate or ()),
    )
    for title, steps in handlers:
        if steps:
            yield Block(title, "", outline(steps))


def walk(nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield every node, each before those it holds."""
    for node in nodes:
        yield node
        for block in node.blocks:
            yield from walk(block.nodes)


def lay_over(nodes: list[Node], attempts: Sequence[Any], *, run: Any, now: datetime) -> None:  # noqa: ANN401 - workflow rows
    """Put a run's attempts on the outline: status, duration, and place in time from 0 to 100."""
    by_path: dict[str, list[Any]] = {}
    for attempt in attempts:
        by_path.setdefault(attempt.path, []).append(attempt)
    start = run.started_at or run.created_at
    total = max(duration_between(start, run.finished_at or now) or 1.0, 1.0)
    for node in walk(nodes):
        node.attempts = by_path.get(node.step.path, [])
        if not node.attempts:
            node.status = "skipped" if run.finished_at else "upcoming"
            continue
        _place(node, start, total, now)


def _place(node: Node, start: datetime, total: float, now: datetime) -> None:
    first, last = node.attempts[0], node.attempts[-1]
    latest = {attempt.iteration: attempt.status for attempt in node.attempts}
    for status in latest.values():
        node.counts[status] = node.counts.get(status, 0) + 1
    node.status = next((word for word in _URGENCY if node.counts.get(word)), last.status)
    node.started_at = first.started_at
    node.duration_ms = duration_between(first.started_at, last.finished_at or now)
    node.offset = round((duration_between(start, first.started_at) or 0.0) / total * 100, 2)
    node.width = round(max((node.duration_ms or 0.0) / total * 100, 1.5), 2)


def of_definition(definition: Definition) -> list[Node]:
    """Return the outline of a definition; what is done when the run fails comes last."""
    return [*outline(definition.steps), *outline(definition.on_failure)]
