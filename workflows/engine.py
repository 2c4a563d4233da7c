"""The engine's mind: `decide(definition, state)` says what to do next. Pure.

The state of a run is what happened in each step (by key). `decide` walks the tree in order and
answers with the first thing that remains to be done. Steps that are nothing but data (decision,
transform, fail, stop, loop, a skipped step) are decided here; what has effects is left to the
worker. Branches of `parallel` and items of `map` are lanes: each is decided on its own, from the
state that its step saw.

When a step fails and nothing handles it, the walk turns round: what finished steps have under
`compensate` is done in reverse order, then the definition's `on_failure`, then the run fails.
"""

from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

from workflows.arguments import resolved_arguments
from workflows.bounds import RUN_TIMEOUT, TIME_IS_UP, no_longer, timeout_of
from workflows.definition import Definition, Step
from workflows.expressions import ExpressionError, parse_expression, resolve
from workflows.fanning import begin_fan_out, fan_out_error, fan_out_output
from workflows.state import (
    Action,
    Advance,
    Complete,
    Escalate,
    Execute,
    FailRun,
    FanOut,
    FanOutState,
    Frame,
    Json,
    LanePlace,
    Open,
    Recall,
    Record,
    Signal,
    Sleep,
    State,
    StepError,
    StepState,
    Undoing,
    Waiting,
    key_of,
)

__all__ = [
    "Action",
    "Advance",
    "Complete",
    "Escalate",
    "Execute",
    "FailRun",
    "FanOut",
    "FanOutState",
    "Frame",
    "Json",
    "LanePlace",
    "Open",
    "Recall",
    "Record",
    "Signal",
    "Sleep",
    "State",
    "StepError",
    "StepState",
    "Waiting",
    "applied",
    "decide",
]

PURE_KINDS: Final = frozenset({"decision", "transform", "fail", "stop"})
MAX_LOST_ATTEMPTS: Final = 5
MAX_ROUNDS: Final = 100


def decide(definition: Definition, state: State) -> Action:
    """Return the next thing to do; always the same for the same definition and state."""
    return _Decision(definition, state).next()


def applied(state: State, record: Record) -> State:
    """Return the state after a record, as the worker will find it in the database."""
    steps = dict(state.steps)
    steps[record.key] = StepState(
        status=record.status,
        attempt=record.attempt,
        output=record.output,
        error=record.error.as_dict() if record.error else None,
    )
    return replace(state, steps=steps, undoing=None)


class _Decision:
    def __init__(self, definition: Definition, state: State) -> None:
        self.definition = definition
        self.state = state
        self.done: list[tuple[Step, Frame]] = []  # in case it has to be undone
        self.unseen: tuple[Step, str] | None = None
        self.error: Json | None = None
        self._roots: dict[tuple[object, ...], Json] = {}

    def roots(self, frame: Frame) -> Json:
        key = (frame.within, frame.iteration, frame.beside)
        if key not in self._roots:
            self._roots[key] = self.state.roots(self.definition, frame)
        roots = self._roots[key]
        if self.error is not None:
            return {**roots, "run": {**roots["run"], "error": self.error}}
        return roots

    def next(self) -> Action:
        if self.state.lane is not None:
            return self.lane(self.state.lane)
        action = self.in_time(self.block(self.definition.steps, Frame()))
        if action is None:
            action = self.complete()
        return self.unwind(action) if isinstance(action, FailRun) else action

    def in_time(self, action: Action | None) -> Action | None:
        """Return the action, or what to do instead once the run's deadline passed."""
        deadline = self.state.deadline
        if deadline is None or isinstance(action, Record | FailRun | Complete | None):
            return action
        if deadline > self.state.now:
            return no_longer(action, deadline, RUN_TIMEOUT)
        if isinstance(action, Sleep):
            found = self.state.steps[action.key]
            return self.failed(action.step, found, action.iteration, RUN_TIMEOUT)
        return FailRun(None, RUN_TIMEOUT.as_dict())

    def complete(self) -> Action:
        try:
            return Complete(resolve(self.definition.output, self.roots(Frame())))
        except ExpressionError as error:
            return FailRun(None, StepError(error.code, f"output: {error}").as_dict())

    def unwind(self, failure: FailRun) -> Action:
        """Undo what finished steps did, in reverse order; then do what a failure asks for."""
        self.error = {**failure.error, "step": failure.step.id if failure.step else None}
        undoing = self.state.undoing or Undoing(self.with_inside(self.done))
        if self.unseen is not None:
            return Recall(*self.unseen)
        self.state.undoing = undoing
        while undoing.remaining:
            step, frame = undoing.remaining[-1]
            action = self.block(step.compensate or (), frame)
            if action is not None and not isinstance(action, FailRun | Complete):
                return action
            undoing.over(failed=action is not None)
        if self.state.lane is None:
            action = self.block(self.definition.on_failure, Frame())
            if action is not None and not isinstance(action, FailRun | Complete):
                return action
        error = (
            {**failure.error, "not_compensated": undoing.failed}
            if undoing.failed
            else failure.error
        )
        return FailRun(failure.step, error)

    def with_inside(self, done: list[tuple[Step, Frame]]) -> list[tuple[Step, Frame]]:
        """Return what was done, with what was done inside of it, in this order."""
        found = []
        for step, frame in done:
            found.append((step, frame))
            if step.path in self.definition.undone_inside:
                self.done = []
                self.walk_inside(step, frame)
                found += self.with_inside(self.done)
        return found

    def walk_inside(self, step: Step, frame: Frame) -> None:
        """Walk what the branches, items or rounds of a step did; whatever remains is left."""
        if step.kind == "parallel":
            for index, branch in enumerate(step.branches):
                self.block(branch.steps, frame.branch_of(step, index))
        elif step.kind == "map":
            items = self.state.items.get(key_of(step.path, frame.iteration))
            if items is None:
                self.unseen = self.unseen or (step, frame.iteration)
            for index, item in enumerate(items or ()):
                self.block(step.steps, frame.item_of(step, index, item))
        elif step.kind == "loop":
            self.walk_rounds(step, frame)

    def walk_rounds(self, step: Step, frame: Frame) -> None:
        number, previous = 1, None
        inner = frame.round(step, number, previous)
        while inner.key_of(step.steps[0]) in self.state.steps:
            self.block(step.steps, inner)
            with suppress(ExpressionError):
                previous = self.output_of(step, step.steps, inner)
            number += 1
            inner = frame.round(step, number, previous)

    # --- lanes --------------------------------------------------------------------------------

    def lane(self, place: LanePlace) -> Action:
        """Decide for one branch of a parallel step or one item of a map."""
        step = self.definition.at(place.path)
        around = Frame(step.within, place.iteration, place.item, step.beside)
        if step.kind == "map":
            frame, steps = around.item_of(step, place.index, place.item), step.steps
        else:
            frame, steps = around.branch_of(step, place.index), step.branches[place.index].steps
        action = self.block(steps, frame)
        if action is None:
            action = self.lane_output(step, steps, frame)
        return self.unwind(action) if isinstance(action, FailRun) else action

    def lane_output(self, step: Step, steps: tuple[Step, ...], frame: Frame) -> Action:
        try:
            return Complete(self.output_of(step, steps, frame))
        except ExpressionError as error:
            return FailRun(step, StepError(error.code, f"output: {error}").as_dict())

    def output_of(self, step: Step, steps: tuple[Step, ...], frame: Frame) -> Any:  # noqa: ANN401  # JSON
        """Return what an item, branch or round gives: its `output`, or that of its last step."""
        if "output" in step.arguments:
            return resolve(step.arguments["output"], self.roots(frame))
        key = frame.key_of(steps[-1]) if steps else None
        found = self.state.steps.get(key) if key is not None else None
        return found.output if found is not None else None

    # --- steps --------------------------------------------------------------------------------

    def block(self, steps: tuple[Step, ...], frame: Frame) -> Action | None:
        for step in steps:
            action = self.step(step, frame)
            if action is not None:
                return action
        return None

    def step(self, step: Step, frame: Frame) -> Action | None:
        key = frame.key_of(step)
        found = self.state.steps.get(key) if key is not None else None
        if found is None:
            return self.begin(step, frame, 1)
        if found.status == "skipped":
            return None
        if found.status == "running" and step.kind == "loop":
            return self.loop(step, found, frame)
        return _BY_STATUS[found.status](self, step, found, frame)

    def begin(self, step: Step, frame: Frame, attempt: int) -> Action:
        roots = self.roots(frame)
        at = frame.iteration
        try:
            if attempt == 1 and step.skip_if and parse_expression(step.skip_if).holds(roots):
                return Record(step, attempt, "skipped", iteration=at)
            if step.kind == "decision":
                return Record(
                    step, attempt, "succeeded", output=self.choose(step, frame), iteration=at
                )
            arguments = resolved_arguments(step, roots)
            cached = step.cache.key if step.cache else None
            cache_key = resolve(cached, roots) if cached else None
        except ExpressionError as error:
            failure = StepError(error.code, str(error))
            return Record(step, attempt, "failed", error=failure, iteration=at)
        if step.fans_out:
            return begin_fan_out(step, attempt, arguments, frame)
        if step.kind == "loop":
            return Open(step, attempt, arguments, at)
        if step.kind not in PURE_KINDS:
            return Execute(step, attempt, arguments, at, cache_key)
        if step.kind == "fail":
            failure = StepError(str(arguments.get("code", "failed")), str(arguments.get("message")))
            return Record(step, attempt, "failed", input=arguments, error=failure, iteration=at)
        return Record(step, attempt, "succeeded", input=arguments, output=arguments, iteration=at)

    def choose(self, step: Step, frame: Frame) -> Json:
        roots = self.roots(frame)
        for index, branch in enumerate(step.branches):
            if parse_expression(branch.when).holds(roots):
                return {"branch": index, "name": branch.name, "when": branch.when}
        return {"branch": None, "name": "otherwise", "when": None}

    def after_success(self, step: Step, found: StepState, frame: Frame) -> Action | None:
        self.note_done(step, frame)
        if step.kind == "decision":
            chosen = found.output["branch"]
            steps = step.otherwise if chosen is None else step.branches[chosen].steps
            return self.block(steps, frame)
        if step.kind == "stop":
            output = found.output or {}
            if "output" in output:
                return Complete(output["output"])
            return Complete(None) if self.state.lane is not None else self.complete()
        if step.on_timeout is not None and _timed_out(found.output):
            return self.block(step.on_timeout, frame)
        return None

    def note_done(self, step: Step, frame: Frame) -> None:
        """Remember what was done, in the step or inside of it, in case it has to be undone."""
        if step.compensate or step.path in self.definition.undone_inside:
            self.done.append((step, frame))

    def after_failure(self, step: Step, found: StepState, frame: Frame) -> Action | None:
        if step.path in self.definition.undone_inside:
            self.done.append((replace(step, compensate=None), frame))  # not all in it failed
        if step.continue_on_error:
            return None
        if step.on_error is not None:
            return self.block(step.on_error, frame)
        return FailRun(step, found.error or StepError("failed", "The step failed.").as_dict())

    def left(self, step: Step, found: StepState, frame: Frame) -> Action:
        """What was ended with the branch or item in which it stands goes no further."""
        return Sleep(step, None, frame.iteration)

    def again(self, step: Step, found: StepState, frame: Frame) -> Action:
        if found.due_at is not None and found.due_at > self.state.now:
            return Sleep(step, found.due_at, frame.iteration)
        return self.begin(step, frame, found.attempt + 1)

    def lost(self, step: Step, found: StepState, frame: Frame) -> Action:
        """A worker began this attempt and died; its effect is keyed, so it is begun again."""
        if found.lost >= MAX_LOST_ATTEMPTS:
            error = StepError("worker_lost", "Workers died while doing this step.")
            return Record(step, found.attempt, "failed", error=error, iteration=frame.iteration)
        return self.begin(step, frame, found.attempt + 1)

    # --- loops --------------------------------------------------------------------------------

    def loop(self, step: Step, found: StepState, frame: Frame) -> Action:
        inner = frame.round(step, found.round, found.previous)
        at = frame.iteration
        action = self.block(step.steps, inner)
        if isinstance(action, FailRun):
            error = _inner_error("round_failed", f"Round {found.round}", action)
            if found.limit is not None and found.limit <= self.state.now:
                error = timeout_of(step)
            return self.failed(step, found, at, error)
        if action is not None:
            return self.in_limit(step, found, at, action)
        try:
            output = self.output_of(step, step.steps, inner)
            over = parse_expression(step.arguments["until"]).holds(self.roots(inner))
        except ExpressionError as error:
            return self.failed(step, found, at, StepError(error.code, str(error)))
        most = int(step.arguments.get("max_rounds", MAX_ROUNDS))
        result = {"rounds": found.round, "output": output, "completed": over}
        if over or (found.round >= most and step.arguments.get("on_limit") == "continue"):
            return Record(step, found.attempt, "succeeded", output=result, iteration=at)
        if found.round >= most:
            message = f"The condition `until` did not hold within {most} rounds."
            return self.failed(step, found, at, StepError("loop_limit", message, details=result))
        return Advance(step, at, found.round + 1, output)

    def in_limit(self, step: Step, found: StepState, iteration: str, action: Action) -> Action:
        """Return the action inside a loop, unless the loop's own timeout has passed."""
        if found.limit is None or isinstance(action, Record | Complete):
            return action
        if found.limit <= self.state.now:
            return self.failed(step, found, iteration, timeout_of(step))
        return no_longer(action, found.limit, TIME_IS_UP)

    # --- waiting ------------------------------------------------------------------------------

    def waiting(self, step: Step, found: StepState, frame: Frame) -> Action:
        wait = found.waiting or Waiting()
        at = frame.iteration
        if wait.fan_out is not None:
            over = self.joined(step, found, wait, at)
        elif wait.child is not None:
            over = self.child_ended(step, found, wait, at)
        else:
            over = self.answered(step, found, wait, at)
        if over is not None:
            return over
        now = self.state.now
        if wait.limit is not None and wait.limit <= now:
            return self.failed(step, found, at, timeout_of(step))
        if wait.until is not None and wait.until <= now:
            return self.expired(step, found, wait, at)
        if wait.task is not None and wait.escalate_at is not None and wait.escalate_at <= now:
            return Escalate(step, at, wait.task)
        return Sleep(step, wait.wakes_at, at)

    def answered(self, step: Step, found: StepState, wait: Waiting, at: str) -> Action | None:
        if wait.task is not None and wait.task in self.state.decisions:
            return self.decided(step, found, self.state.decisions[wait.task], at)
        awaited = wait.event or wait.signal
        signal = next((s for s in self.state.signals if s.name == awaited), None)
        if awaited is None or signal is None:
            return None
        output: Json = {"payload": signal.payload, "timed_out": False}
        if wait.signal is not None:
            output["signal"] = signal.name
        return Record(
            step, found.attempt, "succeeded", output=output, signal=signal.id, iteration=at
        )

    def joined(self, step: Step, found: StepState, wait: Waiting, at: str) -> Action | None:
        fan_out = self.state.fan_outs.get(wait.fan_out or "")
        if fan_out is None:
            return None
        output = fan_out_output(step, fan_out)
        if fan_out.broken:
            error = fan_out_error(step, fan_out)
            return replace(self.failed(step, found, at, error), output=output)
        if not fan_out.joined:
            return None
        return Record(step, found.attempt, "succeeded", output=output, iteration=at, closes=True)

    def child_ended(self, step: Step, found: StepState, wait: Waiting, at: str) -> Action | None:
        child = self.state.children.get(wait.child or "")
        if child is None:
            return None
        output = {"run_id": wait.child, "status": child["status"], "output": child["output"]}
        if child["status"] == "completed":
            return Record(step, found.attempt, "succeeded", output=output, iteration=at)
        error = StepError(
            f"child_{child['status']}",
            f"Run `{wait.child}` of the workflow is {child['status']}.",
            details=child["error"],
        )
        return Record(step, found.attempt, "failed", output=output, error=error, iteration=at)

    def decided(self, step: Step, found: StepState, decision: Json, at: str) -> Action:
        if decision["decision"] == "rejected" and step.arguments.get("on_reject") == "fail":
            error = StepError("rejected", "The approval was rejected.", details=decision)
            return Record(step, found.attempt, "failed", output=decision, error=error, iteration=at)
        return Record(step, found.attempt, "succeeded", output=decision, iteration=at)

    def expired(self, step: Step, found: StepState, wait: Waiting, at: str) -> Action:
        over = Record(step, found.attempt, "succeeded", iteration=at, expired_task=wait.task)
        if wait.timer:
            until = wait.until.isoformat() if wait.until else None
            return replace(over, output={"waited_until": until})
        if wait.task is not None and step.on_timeout is not None:
            return replace(over, output={"decision": "expired", "data": None})
        handled = step.on_timeout is not None or step.arguments.get("on_timeout") == "continue"
        if wait.task is None and handled:
            late: Json = {"payload": None, "timed_out": True}
            if wait.signal is not None:
                late["signal"] = wait.signal
            return replace(over, output=late)
        what = f"signal `{wait.signal}`" if wait.signal else "event" if wait.event else "decision"
        error = StepError("wait_timeout", f"The {what} did not come in time.")
        return replace(over, status="failed", error=error)

    def failed(self, step: Step, found: StepState, iteration: str, error: StepError) -> Record:
        """Return the record of a step that failed with things still open under it."""
        task = found.waiting.task if found.waiting else None
        return Record(
            step,
            found.attempt,
            "failed",
            error=error,
            iteration=iteration,
            closes=True,
            expired_task=task,
        )


_BY_STATUS: Final = {
    "succeeded": _Decision.after_success,
    "failed": _Decision.after_failure,
    "retrying": _Decision.again,
    "waiting": _Decision.waiting,
    "running": _Decision.lost,
    "canceled": _Decision.left,
}


def _timed_out(output: object) -> bool:
    return isinstance(output, dict) and (
        output.get("decision") == "expired" or output.get("timed_out") is True
    )


def _inner_error(code: str, what: str, failure: FailRun) -> StepError:
    step = failure.step.id if failure.step else None
    message = f"{what} failed at step `{step}`: {failure.error.get('message')}"
    return StepError(code, message, details={"step": step, "error": failure.error})
