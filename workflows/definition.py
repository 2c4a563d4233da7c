"""A workflow's definition as a tree of typed steps. Pure.

Steps run in the order they stand; containers hold steps. `workflows.parsing` makes it from JSON,
`workflows.validation` checks what its expressions refer to.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

Json = dict[str, Any]
Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: in which step (None: the definition itself), in which field."""

    step: str | None
    field: str
    message: str
    suggestion: str | None = None
    severity: Severity = "error"

    def as_dict(self) -> dict[str, str | None]:
        """Return the JSON form."""
        return {
            "step": self.step,
            "field": self.field,
            "message": self.message,
            "suggestion": self.suggestion,
            "severity": self.severity,
        }


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed step is tried again; intervals in seconds.

    Errors that trying again can't cure are never retried, whatever the policy says.
    """

    max_attempts: int = 3
    initial_interval: float = 1.0
    backoff_coefficient: float = 2.0
    maximum_interval: float = 60.0
    jitter: bool = True
    non_retryable: tuple[str, ...] = ()

    def interval(self, attempt: int, chance: float) -> timedelta:
        """Return the wait after failed attempt number `attempt` (from 1); `chance` in [0, 1]."""
        exponent = min(attempt - 1, 60)
        seconds = min(
            self.maximum_interval, self.initial_interval * self.backoff_coefficient**exponent
        )
        return timedelta(seconds=seconds * chance if self.jitter else seconds)


ONCE: Final = RetryPolicy(max_attempts=1)


@dataclass(frozen=True, slots=True)
class Cache:
    """How long a step's output is reused for the same arguments, in seconds."""

    seconds: float
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Branch:
    """A branch: of a decision (`when` is its condition), or of a parallel step (no condition)."""

    when: str
    name: str
    steps: "tuple[Step, ...]"


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `path` is its place in the tree, such as `act/0/notify`.

    `within` are the paths of the loops and maps around it, outermost first; `beside` the parallel
    steps around it with the number of the branch that it stands in.
    """

    id: str
    path: str
    kind: str
    name: str
    description: str
    arguments: Json
    branches: tuple[Branch, ...] = ()
    otherwise: "tuple[Step, ...]" = ()
    steps: "tuple[Step, ...]" = ()
    on_timeout: "tuple[Step, ...] | None" = None
    on_error: "tuple[Step, ...] | None" = None
    continue_on_error: bool = False
    retry: RetryPolicy = ONCE
    timeout: float | None = None
    skip_if: str | None = None
    compensate: "tuple[Step, ...] | None" = None
    cache: Cache | None = None
    sensitive: bool = False
    within: tuple[str, ...] = ()
    beside: tuple[tuple[str, int], ...] = ()

    def blocks(self) -> "Iterator[tuple[Step, ...]]":
        """Yield the sequences of steps that this one holds."""
        for branch in self.branches:
            yield branch.steps
        yield self.otherwise
        yield self.steps
        yield self.on_timeout or ()
        yield self.on_error or ()
        yield self.compensate or ()

    @property
    def fans_out(self) -> bool:
        """Return whether its branches or items run as work of their own."""
        return self.kind in {"parallel", "map"}

    @property
    def iterates(self) -> bool:
        """Return whether the steps in it run several times."""
        return self.kind in {"loop", "map"}


@dataclass(frozen=True, slots=True)
class Limits:
    """How many runs of a workflow go on at once, what becomes of others, and for how long.

    `key` is a template over the input: the limit then counts runs of the same key. `across` the
    project it counts runs of all workflows that say so.
    """

    max_runs: int | None = None
    on_limit: Literal["queue", "reject", "replace"] = "queue"
    key: str | None = None
    across: Literal["workflow", "project"] = "workflow"
    run_timeout: float | None = None


NO_LIMITS: Final = Limits()


@dataclass(frozen=True, slots=True)
class Definition:
    """A parsed definition; `source` is the JSON it came from."""

    slug: str
    name: str
    description: str
    input_schema: Json
    triggers: tuple[Json, ...]
    steps: tuple[Step, ...]
    output: Any
    source: Json = field(repr=False, compare=False)
    on_failure: tuple[Step, ...] = ()
    limits: Limits = NO_LIMITS
    trigger_places: tuple[int, ...] = field(default=(), repr=False, compare=False)
    """Where each trigger stands in the source, of which some could perhaps not be read."""
    all: tuple[Step, ...] = field(default=(), repr=False, compare=False)
    undone_inside: frozenset[str] = field(default=frozenset(), repr=False, compare=False)
    """Paths under which a step says how it is undone."""

    def __post_init__(self) -> None:
        """List the steps once: every decision looks at all of them."""
        object.__setattr__(self, "all", tuple(self._walk()))
        undone = (step.path.split("/") for step in self.all if step.compensate is not None)
        around = {"/".join(parts[:n]) for parts in undone for n in range(1, len(parts))}
        object.__setattr__(self, "undone_inside", frozenset(around))

    def placed_triggers(self) -> Iterator[tuple[str, Json]]:
        """Yield the triggers, each with its place in the source."""
        for index, trigger in enumerate(self.triggers):
            place = self.trigger_places[index] if self.trigger_places else index
            yield f"triggers[{place}]", trigger

    def loops_in(self, path: str = "") -> bool:
        """Return whether a loop stands somewhere, or under a step."""
        return any(s.kind == "loop" and s.path.startswith(path) for s in self.all)

    @property
    def has_secrets(self) -> bool:
        """Return whether a step is sensitive."""
        return any(step.sensitive for step in self.all)

    def walk(self) -> tuple[Step, ...]:
        """Return all steps, each before those it holds."""
        return self.all

    def at(self, path: str) -> Step:
        """Return the step at a path; raise KeyError."""
        for step in self.all:
            if step.path == path:
                return step
        raise KeyError(path)

    def _walk(self) -> Iterator[Step]:
        pending = [*reversed(self.on_failure), *reversed(self.steps)]
        while pending:
            step = pending.pop()
            yield step
            for block in reversed(list(step.blocks())):
                pending.extend(reversed(block))
