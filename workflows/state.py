"""What the engine knows of a run and what it can ask for: plain data. Pure.

A step is known by its key: its path, and in loops and maps which round or item of each.
`scan/steps/read#3` is the step `read` of item 3 of the map `scan`; rounds of loops read `r2`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal

from workflows.definition import Definition, Step

Status = Literal["running", "waiting", "retrying", "succeeded", "failed", "skipped", "canceled"]
Json = dict[str, Any]
OVER: Final = frozenset({"succeeded", "failed", "skipped"})


def key_of(path: str, iteration: str = "") -> str:
    """Return the key of a step in an iteration."""
    return f"{path}#{iteration}" if iteration else path


def ids_of(key: str) -> tuple[str, str]:
    """Return path and iteration of a key."""
    path, _, iteration = key.partition("#")
    return path, iteration


def deeper(iteration: str, part: str) -> str:
    """Return the iteration of round or item `part` inside another."""
    return f"{iteration}.{part}" if iteration else part


def shortened(iteration: str, depth: int) -> str:
    """Return the outermost `depth` parts of an iteration."""
    return ".".join(iteration.split(".")[:depth]) if iteration else ""


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step failed: a stable code, words for people, whether trying again can help.

    `retry_after` is the number of seconds before which trying again is in vain.
    """

    code: str
    message: str
    retryable: bool = False
    remedy: str | None = None
    details: Any = None
    retry_after: float | None = None

    def as_dict(self) -> Json:
        """Return the JSON form that is kept, and that expressions see as `steps.<id>.error`."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "remedy": self.remedy,
            "details": self.details,
        }


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a waiting step waits for; `until` is when it stops waiting, `limit` when it failed.

    `fan_out` names branches or items under way, `child` a run, `escalate_at` when a task is
    asked of others too.
    """

    until: datetime | None = None
    signal: str | None = None
    task: str | None = None
    event: str | None = None
    fan_out: str | None = None
    child: str | None = None
    escalate_at: datetime | None = None
    limit: datetime | None = None

    @property
    def timer(self) -> bool:
        """Return whether nothing but time is waited for."""
        return not (self.signal or self.task or self.event or self.fan_out or self.child)

    @property
    def wakes_at(self) -> datetime | None:
        """Return when to look again although nothing happened."""
        moments = [m for m in (self.until, self.escalate_at, self.limit) if m is not None]
        return min(moments, default=None)


@dataclass(frozen=True, slots=True)
class StepState:
    """How far a step is; `due_at` is set while it waits for its next attempt.

    `round` and `previous` are how far a loop is: which round, and what the one before gave.
    """

    status: Status
    attempt: int = 1
    output: Any = None
    error: Json | None = None
    due_at: datetime | None = None
    waiting: Waiting | None = None
    lost: int = 0
    round: int = 1
    previous: Any = None
    limit: datetime | None = None


@dataclass(frozen=True, slots=True)
class Signal:
    """A message to the run that no step has taken yet."""

    id: str
    name: str
    payload: Any


@dataclass(frozen=True, slots=True)
class FanOutState:
    """How far branches or items are; the results are there once they are needed.

    `needed` successes are enough (None: all have to end), more than `tolerated` failures too many.
    """

    total: int
    succeeded: int = 0
    failed: int = 0
    needed: int | None = None
    tolerated: int = 0
    results: tuple[Json, ...] = ()

    @property
    def broken(self) -> bool:
        """Return whether too many failed."""
        return self.failed > self.tolerated

    @property
    def joined(self) -> bool:
        """Return whether enough ended well."""
        if self.needed is not None and self.succeeded >= self.needed:
            return True
        return self.succeeded + self.failed >= self.total


@dataclass(frozen=True, slots=True)
class LanePlace:
    """The branch or item that is carried on its own: of which step, which one, in what."""

    path: str
    index: int
    iteration: str = ""
    item: Any = None


@dataclass(slots=True)
class State:
    """All that `decide` looks at: data of the run, steps by key, signals, decisions, the time.

    `lane` is set where one branch or item is carried, `deadline` is the run's. `items` holds those
    of maps that `Recall` named, whose steps are there then too; `undoing` follows from the rest.
    """

    now: datetime
    input: Any
    trigger: Json
    run: Json
    env: Json
    steps: dict[str, StepState] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    decisions: Mapping[str, Json] = field(default_factory=dict)
    fan_outs: Mapping[str, FanOutState] = field(default_factory=dict)
    children: Mapping[str, Json] = field(default_factory=dict)
    lane: LanePlace | None = None
    deadline: datetime | None = None
    items: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    undoing: "Undoing | None" = field(default=None, compare=False)

    def roots(self, definition: Definition, frame: "Frame | None" = None) -> Json:
        """Return what expressions can name at a place."""
        frame = frame or Frame()
        known = {}
        for step in definition.all:
            key = frame.key_of(step)
            found = self.steps.get(key) if key is not None else None
            if found is not None and found.status in OVER:
                known[step.id] = {
                    "output": found.output,
                    "error": found.error,
                    "status": found.status,
                }
        roots: Json = {
            "input": self.input,
            "steps": known,
            "trigger": self.trigger,
            "run": self.run,
            "env": self.env,
        }
        if frame.within:
            roots["item"] = frame.item
        return roots


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a walk through the steps is: in which rounds and items, beside which branches."""

    within: tuple[str, ...] = ()
    iteration: str = ""
    item: Any = None
    beside: tuple[tuple[str, int], ...] = ()

    def key_of(self, step: Step) -> str | None:
        """Return the key of a step as seen from here, None where it can't be seen."""
        depth = len(step.within)
        if step.within != self.within[:depth]:
            return None
        for path, index in step.beside:
            if any(path == other and index != mine for other, mine in self.beside):
                return None
        return key_of(step.path, shortened(self.iteration, depth) if depth else "")

    def item_of(self, step: Step, index: int, item: object) -> "Frame":
        """Return the place inside an item of a map."""
        iteration = deeper(self.iteration, str(index))
        return Frame((*self.within, step.path), iteration, item, self.beside)

    def branch_of(self, step: Step, index: int) -> "Frame":
        """Return the place inside a branch of a parallel step."""
        return replace(self, beside=(*self.beside, (step.path, index)))

    def round(self, step: Step, number: int, previous: object) -> "Frame":
        """Return the place inside a round of a loop."""
        item = {"index": number - 1, "previous": previous}
        part = deeper(self.iteration, f"r{number}")
        return Frame((*self.within, step.path), part, item, self.beside)


@dataclass(slots=True)
class Undoing:
    """What remains to be undone, the last first, and which steps could not be."""

    remaining: list[tuple[Step, Frame]]
    failed: list[str] = field(default_factory=list)

    def over(self, *, failed: bool) -> None:
        """Go on to the step before."""
        step, _ = self.remaining.pop()
        if failed:
            self.failed.append(step.id)


# --- actions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Execute:
    """Do the step's effect with these resolved arguments.

    What calls out does so until `until` at most; `late` is the error when that passes.
    """

    step: Step
    attempt: int
    arguments: Json
    iteration: str = ""
    cache_key: Any = None
    until: datetime | None = None
    late: StepError | None = None

    @property
    def key(self) -> str:
        """Return the step's key."""
        return key_of(self.step.path, self.iteration)


@dataclass(frozen=True, slots=True)
class Record:
    """The step is over: put this down. `signal` and `task` are used up by it.

    `closes` ends whatever is still open under the step: branches, items, child runs, tasks.
    """

    step: Step
    attempt: int
    status: Literal["succeeded", "failed", "skipped"]
    input: Any = None
    output: Any = None
    error: StepError | None = None
    signal: str | None = None
    expired_task: str | None = None
    iteration: str = ""
    closes: bool = False

    @property
    def key(self) -> str:
        """Return the step's key."""
        return key_of(self.step.path, self.iteration)


@dataclass(frozen=True, slots=True)
class Open:
    """A loop begins: note it, so that its rounds have something to stand in."""

    step: Step
    attempt: int
    arguments: Json
    iteration: str = ""

    @property
    def key(self) -> str:
        """Return the step's key."""
        return key_of(self.step.path, self.iteration)


@dataclass(frozen=True, slots=True)
class Advance:
    """A loop goes into its next round; `previous` is what the last one gave."""

    step: Step
    iteration: str
    round: int
    previous: Any

    @property
    def key(self) -> str:
        """Return the step's key."""
        return key_of(self.step.path, self.iteration)


@dataclass(frozen=True, slots=True)
class FanOut:
    """Begin branches or items as work of their own, `concurrency` at the same time."""

    step: Step
    attempt: int
    input: Json
    items: tuple[Any, ...]
    concurrency: int
    needed: int | None
    tolerated: int
    iteration: str = ""

    @property
    def key(self) -> str:
        """Return the step's key."""
        return key_of(self.step.path, self.iteration)


@dataclass(frozen=True, slots=True)
class Recall:
    """Look at what the items of a map did, as it has to be undone."""

    step: Step
    iteration: str

    @property
    def key(self) -> str:
        """Return the step's key."""
        return key_of(self.step.path, self.iteration)


@dataclass(frozen=True, slots=True)
class Escalate:
    """A task was not decided for long: ask others too."""

    step: Step
    iteration: str
    task: str

    @property
    def key(self) -> str:
        """Return the step's key."""
        return key_of(self.step.path, self.iteration)


@dataclass(frozen=True, slots=True)
class Sleep:
    """Nothing can be done before `until` (None: before somebody does something)."""

    step: Step
    until: datetime | None
    iteration: str = ""

    @property
    def key(self) -> str:
        """Return the step's key."""
        return key_of(self.step.path, self.iteration)


@dataclass(frozen=True, slots=True)
class Complete:
    """The run, branch or item is over, with this output."""

    output: Any


@dataclass(frozen=True, slots=True)
class FailRun:
    """The run is over: this step failed and nothing handles it (None: the definition's output)."""

    step: Step | None
    error: Json


Action = Execute | Record | Open | Advance | FanOut | Recall | Escalate | Sleep | Complete | FailRun
