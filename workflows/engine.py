"""The engine's mind: `decide(definition, state)` says what to do next. Pure.

The state of a run is what happened in each step (by path). `decide` walks the tree in order and
answers with the first thing that remains to be done. Steps that are nothing but data (decision,
transform, fail, stop, a skipped step) are decided here; what has effects is left to the worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import quote as percent_encode

from workflows.definition import Definition, Step
from workflows.expressions import ExpressionError, parse_expression, resolve

Status = Literal["running", "waiting", "retrying", "succeeded", "failed", "skipped"]
Json = dict[str, Any]
PURE_KINDS: Final = frozenset({"decision", "transform", "fail", "stop"})
MAX_LOST_ATTEMPTS: Final = 5
# Texts that are queries: each interpolated value is quoted, so that it stays one value.
QUERIES: Final = frozenset(
    {("fhir_search", "query"), ("fhir_read", "reference"), ("fhir_create", "if_none_exist")}
)


@dataclass(frozen=True, slots=True)
class StepError:
    """Why a step failed: a stable code, words for people, whether trying again can help."""

    code: str
    message: str
    retryable: bool = False
    remedy: str | None = None
    details: Any = None

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
    """What a waiting step waits for; `until` is when it stops waiting."""

    until: datetime | None = None
    signal: str | None = None
    task: str | None = None

    @property
    def timer(self) -> bool:
        """Return whether nothing but time is waited for."""
        return self.signal is None and self.task is None


@dataclass(frozen=True, slots=True)
class StepState:
    """How far a step is; `due_at` is set while it waits for its next attempt."""

    status: Status
    attempt: int = 1
    output: Any = None
    error: Json | None = None
    due_at: datetime | None = None
    waiting: Waiting | None = None
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Signal:
    """A message to the run that no step has taken yet."""

    id: str
    name: str
    payload: Any


@dataclass(slots=True)
class State:
    """All that `decide` looks at: data of the run, steps by path, signals, decisions, the time."""

    now: datetime
    input: Any
    trigger: Json
    run: Json
    env: Json
    steps: dict[str, StepState] = field(default_factory=dict)
    signals: tuple[Signal, ...] = ()
    decisions: Mapping[str, Json] = field(default_factory=dict)

    def roots(self, definition: Definition) -> Json:
        """Return what expressions can name."""
        known = {}
        for step in definition.walk():
            found = self.steps.get(step.path)
            if found is not None and found.status in {"succeeded", "failed", "skipped"}:
                known[step.id] = {
                    "output": found.output,
                    "error": found.error,
                    "status": found.status,
                }
        return {
            "input": self.input,
            "steps": known,
            "trigger": self.trigger,
            "run": self.run,
            "env": self.env,
        }


# --- actions ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Execute:
    """Do the step's effect with these resolved arguments."""

    step: Step
    attempt: int
    arguments: Json


@dataclass(frozen=True, slots=True)
class Record:
    """The step is over: put this down. `signal` and `task` are used up by it."""

    step: Step
    attempt: int
    status: Literal["succeeded", "failed", "skipped"]
    input: Any = None
    output: Any = None
    error: StepError | None = None
    signal: str | None = None
    expired_task: str | None = None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Nothing can be done before `until` (None: before somebody does something)."""

    step: Step
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Complete:
    """The run is over, with this output."""

    output: Any


@dataclass(frozen=True, slots=True)
class FailRun:
    """The run is over: this step failed and nothing handles it (None: the definition's output)."""

    step: Step | None
    error: Json


Action = Execute | Record | Sleep | Complete | FailRun


def decide(definition: Definition, state: State) -> Action:
    """Return the next thing to do; always the same for the same definition and state."""
    return _Decision(definition, state).next()


def applied(state: State, record: Record) -> State:
    """Return the state after a record, as the worker will find it in the database."""
    steps = dict(state.steps)
    steps[record.step.path] = StepState(
        status=record.status,
        attempt=record.attempt,
        output=record.output,
        error=record.error.as_dict() if record.error else None,
    )
    return replace(state, steps=steps)


class _Decision:
    def __init__(self, definition: Definition, state: State) -> None:
        self.definition = definition
        self.state = state
        self._roots: Json | None = None

    @property
    def roots(self) -> Json:
        if self._roots is None:
            self._roots = self.state.roots(self.definition)
        return self._roots

    def next(self) -> Action:
        action = self.block(self.definition.steps)
        if action is not None:
            return action
        try:
            return Complete(resolve(self.definition.output, self.roots))
        except ExpressionError as error:
            return FailRun(None, StepError(error.code, f"output: {error}").as_dict())

    def block(self, steps: tuple[Step, ...]) -> Action | None:
        for step in steps:
            action = self.step(step)
            if action is not None:
                return action
        return None

    def step(self, step: Step) -> Action | None:
        found = self.state.steps.get(step.path)
        if found is None:
            return self.begin(step, 1)
        match found.status:
            case "succeeded":
                return self.after_success(step, found)
            case "skipped":
                return None
            case "failed":
                return self.after_failure(step, found)
            case "retrying":
                return self.again(step, found)
            case "waiting":
                return self.waiting(step, found)
            case "running":
                return self.lost(step, found)

    def begin(self, step: Step, attempt: int) -> Action:
        try:
            if attempt == 1 and step.skip_if and parse_expression(step.skip_if).holds(self.roots):
                return Record(step, attempt, "skipped")
            if step.kind == "decision":
                return Record(step, attempt, "succeeded", output=self.choose(step))
            arguments = self.arguments(step)
        except ExpressionError as error:
            return Record(step, attempt, "failed", error=StepError(error.code, str(error)))
        if step.kind not in PURE_KINDS:
            return Execute(step, attempt, arguments)
        if step.kind == "fail":
            failure = StepError(str(arguments.get("code", "failed")), str(arguments.get("message")))
            return Record(step, attempt, "failed", input=arguments, error=failure)
        return Record(step, attempt, "succeeded", input=arguments, output=arguments)

    def arguments(self, step: Step) -> Json:
        resolved: Json = {}
        for name, value in step.arguments.items():
            if (step.kind, name) in QUERIES:
                resolved[name] = resolve(value, self.roots, _quote)
            elif (step.kind, name) == ("approval", "form"):
                resolved[name] = value
            else:
                resolved[name] = resolve(value, self.roots)
        return resolved

    def choose(self, step: Step) -> Json:
        for index, branch in enumerate(step.branches):
            if parse_expression(branch.when).holds(self.roots):
                return {"branch": index, "name": branch.name, "when": branch.when}
        return {"branch": None, "name": "otherwise", "when": None}

    def after_success(self, step: Step, found: StepState) -> Action | None:
        if step.kind == "decision":
            chosen = found.output["branch"]
            steps = step.otherwise if chosen is None else step.branches[chosen].steps
            return self.block(steps)
        if step.kind == "stop":
            output = found.output or {}
            if "output" in output:
                return Complete(output["output"])
            return self.stopped()
        if step.on_timeout is not None and (found.output or {}).get("decision") == "expired":
            return self.block(step.on_timeout)
        return None

    def stopped(self) -> Action:
        try:
            return Complete(resolve(self.definition.output, self.roots))
        except ExpressionError as error:
            return FailRun(None, StepError(error.code, f"output: {error}").as_dict())

    def after_failure(self, step: Step, found: StepState) -> Action | None:
        if step.continue_on_error:
            return None
        if step.on_error is not None:
            return self.block(step.on_error)
        return FailRun(step, found.error or StepError("failed", "The step failed.").as_dict())

    def again(self, step: Step, found: StepState) -> Action:
        if found.due_at is not None and found.due_at > self.state.now:
            return Sleep(step, found.due_at)
        return self.begin(step, found.attempt + 1)

    def lost(self, step: Step, found: StepState) -> Action:
        """A worker began this attempt and died; its effect is keyed, so it is begun again."""
        if found.lost >= MAX_LOST_ATTEMPTS:
            error = StepError("worker_lost", "Workers died while doing this step.")
            return Record(step, found.attempt, "failed", error=error)
        return self.begin(step, found.attempt + 1)

    def waiting(self, step: Step, found: StepState) -> Action:
        wait = found.waiting or Waiting()
        if wait.task is not None and wait.task in self.state.decisions:
            return self.decided(step, found, self.state.decisions[wait.task])
        signal = next((s for s in self.state.signals if s.name == wait.signal), None)
        if signal is not None:
            output = {"signal": signal.name, "payload": signal.payload, "timed_out": False}
            return Record(step, found.attempt, "succeeded", output=output, signal=signal.id)
        if wait.until is None or wait.until > self.state.now:
            return Sleep(step, wait.until)
        return self.expired(step, found, wait)

    def decided(self, step: Step, found: StepState, decision: Json) -> Action:
        if decision["decision"] == "rejected" and step.arguments.get("on_reject") == "fail":
            error = StepError("rejected", "The approval was rejected.", details=decision)
            return Record(step, found.attempt, "failed", output=decision, error=error)
        return Record(step, found.attempt, "succeeded", output=decision)

    def expired(self, step: Step, found: StepState, wait: Waiting) -> Action:
        if wait.timer:
            output = {"waited_until": wait.until.isoformat() if wait.until else None}
            return Record(step, found.attempt, "succeeded", output=output)
        if wait.task is not None and step.on_timeout is not None:
            output = {"decision": "expired", "data": None}
            return Record(step, found.attempt, "succeeded", output=output, expired_task=wait.task)
        if wait.signal is not None and step.arguments.get("on_timeout") == "continue":
            late: Json = {"signal": wait.signal, "payload": None, "timed_out": True}
            return Record(step, found.attempt, "succeeded", output=late)
        what = f"signal `{wait.signal}`" if wait.signal else "decision"
        error = StepError("wait_timeout", f"The {what} did not come in time.")
        return Record(step, found.attempt, "failed", error=error, expired_task=wait.task)


def _quote(text: str) -> str:
    """Percent-encode a value of a query, so that it can't add parameters or leave its place."""
    return percent_encode(text, safe="")
