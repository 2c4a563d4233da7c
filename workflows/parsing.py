"""Read a definition: JSON into typed steps, with every problem named by step and field. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from workflows.definition import (
    NO_LIMITS,
    ONCE,
    Branch,
    Cache,
    Definition,
    Json,
    Limits,
    Problem,
    RetryPolicy,
    Step,
)
from workflows.kinds import KINDS, Argument, Kind
from workflows.reading import (
    DURATION_HINT,
    MOMENT_HINT,
    Reader,
    nearest,
    parse_duration,
    parse_moment,
)
from workflows.triggers.reading import read_trigger

__all__ = ["MAX_NESTING", "MAX_STEPS", "Parsed", "nearest", "parse", "parse_duration"]

MAX_STEPS: Final = 500
MAX_NESTING: Final = 8
MAX_BRANCHES: Final = 50
_SLUG: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_RESERVED_SLUGS: Final = frozenset({"run", "runs", "import", "validate", "schema", "templates"})
_STEP_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED_IDS: Final = frozenset(
    [
        "and",
        "or",
        "xor",
        "implies",
        "div",
        "mod",
        "is",
        "as",
        "in",
        "contains",
        "true",
        "false",
        "day",
        "days",
        "week",
        "weeks",
        "month",
        "months",
        "year",
        "years",
        "hour",
        "hours",
        "minute",
        "minutes",
        "second",
        "seconds",
        "millisecond",
        "milliseconds",
    ]  # as a list it would fill a page
)
_SHARE: Final = re.compile(r"(100|\d{1,2})%")
_MEMBERS: Final = (
    "slug",
    "name",
    "description",
    "input_schema",
    "triggers",
    "steps",
    "output",
    "on_failure",
    "concurrency",
    "timeout",
    "metadata",
)
_STEP_MEMBERS: Final = (
    "id",
    "kind",
    "name",
    "description",
    "with",
    "skip_if",
    "on_error",
    "compensate",
    "sensitive",
    "retry",
    "timeout",
    "cache",
)
_RETRY_MEMBERS: Final = (
    "max_attempts",
    "initial_interval",
    "backoff_coefficient",
    "maximum_interval",
    "jitter",
    "non_retryable",
)


@dataclass(slots=True)
class Parsed:
    """What `parse` answers: the definition as far as it could be read, and all problems."""

    definition: Definition | None
    problems: list[Problem]
    readable: Definition | None = None
    """What could be read although there are errors; steps of unknown kinds are missing in it."""
    unreadable: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Place:
    """Where steps stand: their path so far, how deep, in which loops, maps and branches."""

    path: str = ""
    depth: int = 1
    within: tuple[str, ...] = ()
    beside: tuple[tuple[str, int], ...] = ()

    def inside(self, path: str) -> "_Place":
        return replace(self, path=path, depth=self.depth + 1)


def parse(source: object) -> Parsed:
    """Read a definition; problems name step and field, and `definition` is None with errors."""
    reader = _Reader()
    definition = reader.definition(source)
    failed = any(problem.severity == "error" for problem in reader.problems)
    read = {step.id for step in definition.walk()} if definition else set()
    unreadable = frozenset(reader.places) - read
    return Parsed(None if failed else definition, reader.problems, definition, unreadable)


class _Reader(Reader):
    """Reads JSON into steps and notes what is wrong, without stopping at the first problem."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[str, str] = {}
        self.steps = 0

    def definition(self, source: object) -> Definition | None:
        if not isinstance(source, Mapping):
            self.note(None, "", "A definition is a JSON object.")
            return None
        self.members(None, "", source, _MEMBERS)
        slug = self.text(None, source, "slug", required=True)
        if slug and not _SLUG.fullmatch(slug):
            self.note(None, "slug", "Use lower-case letters, digits, `_` and `-`, at most 63.")
        if slug in _RESERVED_SLUGS:
            self.note(None, "slug", f"`{slug}` is a route of the API; use another slug.")
        place = _Place()
        steps = self.block(source.get("steps"), None, "steps", place, required=True)
        failing = _Place("on_failure/")
        triggers = list(self.triggers(source.get("triggers", [])))
        return Definition(
            slug=slug,
            name=self.text(None, source, "name") or slug,
            description=self.text(None, source, "description"),
            input_schema=self.mapping(None, source, "input_schema"),
            triggers=tuple(trigger for _, trigger in triggers),
            trigger_places=tuple(place for place, _ in triggers),
            steps=steps,
            output=source.get("output"),
            source=dict(source),
            on_failure=self.block(source.get("on_failure"), None, "on_failure", failing),
            limits=self.limits(source),
        )

    def triggers(self, value: object) -> Iterator[tuple[int, Json]]:
        if not isinstance(value, list):
            self.note(None, "triggers", "Triggers are a list.")
            return
        if len(value) > MAX_BRANCHES:
            self.note(None, "triggers", f"A workflow has at most {MAX_BRANCHES} triggers.")
            return
        for index, trigger in enumerate(value):
            found = read_trigger(self, f"triggers[{index}]", trigger)
            if found is not None:
                yield index, found

    def limits(self, source: Mapping[str, Any]) -> Limits:
        value = source.get("concurrency")
        limits = NO_LIMITS
        if value is not None and not isinstance(value, Mapping):
            self.note(None, "concurrency", "`concurrency` is an object.")
        elif value is not None:
            at = "concurrency."
            self.members(None, "concurrency", value, ("max_runs", "on_limit", "key", "across"))
            most = int(self.number(None, value, "max_runs", 1, (1, 1000), at, whole=True))
            policy = value.get("on_limit", "queue")
            if policy not in ("queue", "reject", "replace"):
                self.note(None, f"{at}on_limit", "Use one of queue, reject, replace.")
                policy = "queue"
            key = value.get("key")
            if key is not None and not isinstance(key, str):
                self.note(None, f"{at}key", "This is text with an expression in it.")
                key = None
            across = value.get("across", "workflow")
            if across not in ("workflow", "project"):
                self.note(None, f"{at}across", "Use one of workflow, project.")
                across = "workflow"
            limits = Limits(max_runs=most, on_limit=policy, key=key, across=across)
        return replace(limits, run_timeout=self.seconds(None, source, "timeout"))

    # --- steps --------------------------------------------------------------------------------

    def block(
        self, value: object, step: str | None, at: str, place: _Place, *, required: bool = False
    ) -> tuple[Step, ...]:
        if value is None and not required:
            return ()
        if not isinstance(value, list) or (required and not value):
            self.note(step, at, "This needs a list of steps.")
            return ()
        if place.depth > MAX_NESTING:
            self.note(step, at, f"Steps are nested more than {MAX_NESTING} deep.")
            return ()
        steps = [self.step(s, step, f"{at}[{i}]", place) for i, s in enumerate(value)]
        return tuple(step for step in steps if step is not None)

    def step(self, source: object, parent: str | None, at: str, place: _Place) -> Step | None:
        if not isinstance(source, Mapping):
            self.note(parent, at, "A step is a JSON object.")
            return None
        self.steps += 1
        if self.steps == MAX_STEPS + 1:
            self.note(None, "steps", f"A definition has at most {MAX_STEPS} steps.")
        step_id = self.step_id(source, parent, at)
        kind = self.kind(source, step_id)
        if kind is None:
            return None
        self.members(step_id, "", source, members_of(kind))
        self.without_effect(step_id, kind, source)
        on_error = source.get("on_error")
        if on_error is not None and on_error != "continue" and not isinstance(on_error, list):
            self.note(step_id, "on_error", 'Use "continue" or a list of steps.')
        place = replace(place, path=f"{place.path}{step_id}")
        held = _Held(self, step_id, source, place)
        return Step(
            id=step_id,
            path=place.path,
            kind=kind.name,
            name=self.text(step_id, source, "name") or step_id,
            description=self.text(step_id, source, "description"),
            arguments=self.arguments(step_id, kind, source),
            branches=self.branches(step_id, kind, source, place),
            otherwise=held.block("otherwise") if "otherwise" in kind.holds else (),
            steps=held.body() if "steps" in kind.holds else (),
            on_timeout=held.optional("on_timeout") if "on_timeout" in kind.holds else None,
            on_error=held.optional("on_error") if isinstance(on_error, list) else None,
            continue_on_error=on_error == "continue",
            retry=self.retry(step_id, kind, source.get("retry")),
            timeout=self.seconds(step_id, source, "timeout"),
            skip_if=self.text(step_id, source, "skip_if") or None,
            compensate=held.optional("compensate"),
            cache=self.cache(step_id, source.get("cache")),
            sensitive=self.flag(step_id, source, "sensitive"),
            within=place.within,
            beside=place.beside,
        )

    def without_effect(self, step: str, kind: Kind, source: Mapping[str, Any]) -> None:
        """Warn of policies that change nothing for a step of this kind."""
        idle = set() if kind.repeatable else {"retry", "cache"}
        idle |= set() if kind.repeatable or kind.lasting else {"timeout"}
        for name in sorted(idle & set(source)):
            message = f"`{name}` has no effect on a step of kind `{kind.name}`."
            self.problems.append(Problem(step, name, message, severity="warning"))

    def step_id(self, source: Mapping[str, Any], parent: str | None, at: str) -> str:
        value = source.get("id")
        if not isinstance(value, str) or not _STEP_ID.fullmatch(value):
            self.note(
                parent, f"{at}.id", "A step id is lower-case letters, digits and `_`, at most 63."
            )
            return str(value)[:63]
        if value in _RESERVED_IDS:
            self.note(value, "id", f"`{value}` is a word of FHIRPath; use another id.")
        if value in self.places:
            self.note(value, "id", f"Another step has this id already, at {self.places[value]}.")
        self.places[value] = at
        return value

    def kind(self, source: Mapping[str, Any], step_id: str) -> Kind | None:
        name = source.get("kind")
        if isinstance(name, str) and name in KINDS:
            return KINDS[name]
        message = f"There is no kind `{str(name)[:60]}`. Kinds: {', '.join(KINDS)}."
        self.note(step_id, "kind", message, nearest(str(name), list(KINDS)))
        return None

    def branches(
        self, step: str, kind: Kind, source: Mapping[str, Any], place: _Place
    ) -> tuple[Branch, ...]:
        if "branches" not in kind.holds:
            return ()
        value = source.get("branches")
        if not isinstance(value, list) or not 1 <= len(value) <= MAX_BRANCHES:
            message = f"A {kind.name} step needs a list of 1 to {MAX_BRANCHES} branches."
            self.note(step, "branches", message)
            return ()
        return tuple(
            self.branch(step, kind, branch, index, place) for index, branch in enumerate(value)
        )

    def branch(self, step: str, kind: Kind, source: object, index: int, place: _Place) -> Branch:
        at = f"branches[{index}]"
        if not isinstance(source, Mapping):
            self.note(step, at, "A branch is an object with `steps`.")
            source = {"when": "false", "steps": []}
        conditional = kind.name == "decision"
        self.members(
            step, at, source, ("when", "name", "steps") if conditional else ("name", "steps")
        )
        when = source.get("when")
        if conditional and (not isinstance(when, str) or not when.strip()):
            self.note(step, f"{at}.when", "A branch needs a condition in `when`.")
            when = "false"
        name = source.get("name")
        inner = place.inside(f"{place.path}/{index}/")
        if not conditional:
            inner = replace(inner, beside=(*place.beside, (place.path, index)))
        steps = self.block(
            source.get("steps"), step, f"{at}.steps", inner, required=not conditional
        )
        return Branch(str(when or ""), name if isinstance(name, str) else "", steps)

    # --- arguments ----------------------------------------------------------------------------

    def arguments(self, step: str, kind: Kind, source: Mapping[str, Any]) -> Json:
        value = source.get("with", {})
        if not isinstance(value, Mapping):
            self.note(step, "with", "`with` is an object.")
            return {}
        if kind.open_arguments:
            return dict(value)
        self.members(step, "with", value, tuple(a.name for a in kind.arguments))
        for argument in kind.arguments:
            if argument.name in value:
                self.argument(step, argument, value[argument.name])
            elif argument.required:
                self.note(step, f"with.{argument.name}", f"Missing: {argument.summary}.")
        given = [name for name in kind.one_of if name in value]
        if kind.one_of and len(given) != 1:
            self.note(step, "with", f"Give exactly one of {', '.join(kind.one_of)}.")
        if kind.name == "parallel":
            self.join(step, value.get("join", "all"), source.get("branches"))
        return dict(value)

    def argument(self, step: str, argument: Argument, value: object) -> None:
        at = f"with.{argument.name}"
        templated = isinstance(value, str) and "{{" in value
        if templated and argument.literal:
            self.note(step, at, "This can't hold an expression in braces.")
        elif templated or argument.type == "any" or argument.name == "join":
            return
        elif argument.choices and value not in argument.choices:
            message = f"Use one of {', '.join(argument.choices)}."
            self.note(step, at, message, nearest(str(value), argument.choices))
        elif problem := _type_problem(argument, value):
            self.note(step, at, problem)

    def join(self, step: str, value: object, branches: object) -> None:
        count = len(branches) if isinstance(branches, list) else 0
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value not in ("all", "any") and not (whole and 1 <= int(str(value)) <= count):
            message = f"Use `all`, `any`, or a number from 1 to {count}."
            self.note(step, "with.join", message)

    # --- policies -----------------------------------------------------------------------------

    def retry(self, step: str, kind: Kind, value: object) -> RetryPolicy:
        if value is None:
            return RetryPolicy() if kind.calls_out else ONCE
        if not isinstance(value, Mapping):
            self.note(step, "retry", "`retry` is an object.")
            return ONCE
        at = "retry."
        self.members(step, "retry", value, _RETRY_MEMBERS)
        codes = value.get("non_retryable", [])
        if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
            self.note(step, "retry.non_retryable", "This is a list of error codes.")
            codes = []
        if not isinstance(value.get("jitter", True), bool):
            self.note(step, "retry.jitter", "This is true or false.")
        return RetryPolicy(
            max_attempts=int(self.number(step, value, "max_attempts", 3, (1, 100), at, whole=True)),
            initial_interval=self.seconds(step, value, "initial_interval", at) or 1.0,
            backoff_coefficient=self.number(step, value, "backoff_coefficient", 2.0, (1, 10), at),
            maximum_interval=self.seconds(step, value, "maximum_interval", at) or 60.0,
            jitter=value.get("jitter", True) is not False,
            non_retryable=tuple(codes),
        )

    def cache(self, step: str, value: object) -> Cache | None:
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.note(step, "cache", "`cache` is an object with `for`, a duration.")
            return None
        self.members(step, "cache", value, ("for", "key"))
        seconds = self.seconds(step, value, "for", "cache.")
        if "for" not in value:
            self.note(step, "cache.for", f"Missing. {DURATION_HINT}")
        key = value.get("key")
        if key is not None and not isinstance(key, str):
            self.note(step, "cache.key", "This is text with an expression in it.")
            key = None
        return Cache(seconds, key) if seconds else None


@dataclass(frozen=True, slots=True)
class _Held:
    """Reads the blocks that one step holds."""

    reader: _Reader
    step: str
    source: Mapping[str, Any]
    place: _Place

    def block(self, member: str) -> tuple[Step, ...]:
        place = self.place.inside(f"{self.place.path}/{member}/")
        return self.reader.block(self.source.get(member), self.step, member, place)

    def optional(self, member: str) -> tuple[Step, ...] | None:
        return self.block(member) if member in self.source else None

    def body(self) -> tuple[Step, ...]:
        inner = self.place.inside(f"{self.place.path}/steps/")
        inner = replace(inner, within=(*self.place.within, self.place.path))
        return self.reader.block(self.source.get("steps"), self.step, "steps", inner, required=True)


def members_of(kind: Kind) -> tuple[str, ...]:
    """Return the members that a step of this kind may have."""
    return (*_STEP_MEMBERS, *kind.holds)


def _type_problem(argument: Argument, value: object) -> str | None:
    """Return why a constant is not what the argument takes."""
    match argument.type:
        case "object" | "schema" if not isinstance(value, Mapping):
            return "This is an object."
        case "list" if not isinstance(value, list):
            return "This is a list, or an expression that gives one."
        case "integer":
            whole = isinstance(value, int) and not isinstance(value, bool)
            most = argument.most or 2**31
            return None if whole and 1 <= int(str(value)) <= most else f"Use 1 to {most}."
        case "share":
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 0
            percent = isinstance(value, str) and _SHARE.fullmatch(value)
            return None if whole or percent else "Use a number of items, or a share such as 10%."
        case "text" | "duration" | "time" | "condition" if not isinstance(value, str):
            return "This is text."
        case "duration" if parse_duration(str(value)) is None:
            return DURATION_HINT
        case "time" if parse_moment(str(value)) is None:
            return MOMENT_HINT
    return None
