"""Read a definition: JSON into typed steps, with every problem named by step and field. Pure."""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from workflows.definition import (
    ONCE,
    Branch,
    Definition,
    Json,
    Problem,
    RetryPolicy,
    Step,
)
from workflows.kinds import KINDS, LATER, TRIGGERS, TRIGGERS_LATER, Argument, Kind

MAX_STEPS: Final = 500
MAX_NESTING: Final = 8
_SLUG: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_RESERVED_SLUGS: Final = frozenset({"run", "runs", "import", "validate", "schema"})
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
    ]
)
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_ISO_DURATION: Final = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MEMBERS: Final = (
    "slug",
    "name",
    "description",
    "input_schema",
    "triggers",
    "steps",
    "output",
    "metadata",
)
_STEP_MEMBERS: Final = (
    "id",
    "kind",
    "name",
    "description",
    "with",
    "retry",
    "timeout",
    "skip_if",
    "on_error",
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


def parse(source: object) -> Parsed:
    """Read a definition; problems name step and field, and `definition` is None with errors."""
    reader = _Reader()
    definition = reader.definition(source)
    failed = any(problem.severity == "error" for problem in reader.problems)
    return Parsed(None if failed else definition, reader.problems)


def parse_duration(text: str) -> timedelta | None:
    """Return the duration that `30s`, `1h30m`, `250ms` or `PT5M` means; None for other text."""
    text = text.strip()
    if text.startswith("P"):
        found = _ISO_DURATION.fullmatch(text)
        if found is None or not any(found.groups()):
            return None
        days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that a misspelled one probably means."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None


class _Reader:
    """Reads JSON into steps and notes what is wrong, without stopping at the first problem."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
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
        steps = self.block(source.get("steps"), None, "steps", "", 1, required=True)
        return Definition(
            slug=slug,
            name=self.text(None, source, "name") or slug,
            description=self.text(None, source, "description"),
            input_schema=self.mapping(None, source, "input_schema"),
            triggers=tuple(self.triggers(source.get("triggers", []))),
            steps=steps,
            output=source.get("output"),
            source=dict(source),
        )

    def triggers(self, value: object) -> Iterator[Json]:
        if not isinstance(value, list):
            self.note(None, "triggers", "Triggers are a list.")
            return
        for index, trigger in enumerate(value):
            at = f"triggers[{index}]"
            kind = str(trigger.get("kind")) if isinstance(trigger, Mapping) else None
            if kind in TRIGGERS:
                yield dict(trigger)
            elif kind in TRIGGERS_LATER:
                self.note(None, f"{at}.kind", f"Triggers of kind `{kind}` are not available yet.")
            else:
                self.note(None, f"{at}.kind", f"Use one of {', '.join(TRIGGERS)}.")

    def block(
        self,
        value: object,
        step: str | None,
        at: str,
        path: str,
        depth: int,
        *,
        required: bool = False,
    ) -> tuple[Step, ...]:
        if value is None and not required:
            return ()
        if not isinstance(value, list) or (required and not value):
            self.note(step, at, "This needs a list of steps.")
            return ()
        if depth > MAX_NESTING:
            self.note(step, at, f"Steps are nested more than {MAX_NESTING} deep.")
            return ()
        steps = [self.step(s, step, f"{at}[{i}]", path, depth) for i, s in enumerate(value)]
        return tuple(step for step in steps if step is not None)

    def step(
        self, source: object, parent: str | None, at: str, path: str, depth: int
    ) -> Step | None:
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
        path = f"{path}{step_id}"
        self.members(step_id, "", source, (*_STEP_MEMBERS, *kind.holds))
        on_error = source.get("on_error")
        handled = isinstance(on_error, list)
        if on_error is not None and on_error != "continue" and not handled:
            self.note(step_id, "on_error", 'Use "continue" or a list of steps.')
        return Step(
            id=step_id,
            path=path,
            kind=kind.name,
            name=self.text(step_id, source, "name") or step_id,
            description=self.text(step_id, source, "description"),
            arguments=self.arguments(step_id, kind, source),
            branches=self.branches(step_id, kind, source, path, depth),
            otherwise=self.held(step_id, kind, source, "otherwise", path, depth),
            on_timeout=self.held(step_id, kind, source, "on_timeout", path, depth)
            if "on_timeout" in source
            else None,
            on_error=self.block(on_error, step_id, "on_error", f"{path}/on_error/", depth + 1)
            if handled
            else None,
            continue_on_error=on_error == "continue",
            retry=self.retry(step_id, kind, source.get("retry")),
            timeout=self.duration(step_id, source, "timeout"),
            skip_if=self.text(step_id, source, "skip_if") or None,
        )

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
        if isinstance(name, str) and name in LATER:
            message = f"Steps of kind `{name}` are not available yet. Kinds: {', '.join(KINDS)}."
            self.note(step_id, "kind", message)
        else:
            message = f"There is no kind `{name}`. Kinds: {', '.join(KINDS)}."
            self.note(step_id, "kind", message, nearest(str(name), list(KINDS)))
        return None

    def branches(
        self, step: str, kind: Kind, source: Mapping[str, Any], path: str, depth: int
    ) -> tuple[Branch, ...]:
        if "branches" not in kind.holds:
            return ()
        value = source.get("branches")
        if not isinstance(value, list) or not value:
            self.note(step, "branches", "A decision needs a list of branches.")
            return ()
        return tuple(
            self.branch(step, branch, index, path, depth) for index, branch in enumerate(value)
        )

    def branch(self, step: str, source: object, index: int, path: str, depth: int) -> Branch:
        at = f"branches[{index}]"
        if not isinstance(source, Mapping):
            self.note(step, at, "A branch is an object with `when` and `steps`.")
            source = {"when": "false", "steps": []}
        self.members(step, at, source, ("when", "name", "steps"))
        when = source.get("when")
        if not isinstance(when, str) or not when.strip():
            self.note(step, f"{at}.when", "A branch needs a condition in `when`.")
            when = "false"
        name = source.get("name")
        steps = self.block(source.get("steps"), step, f"{at}.steps", f"{path}/{index}/", depth + 1)
        return Branch(when, name if isinstance(name, str) else "", steps)

    def held(
        self, step: str, kind: Kind, source: Mapping[str, Any], member: str, path: str, depth: int
    ) -> tuple[Step, ...]:
        if member not in kind.holds:
            return ()
        return self.block(source.get(member), step, member, f"{path}/{member}/", depth + 1)

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
        return dict(value)

    def argument(self, step: str, argument: Argument, value: object) -> None:
        at = f"with.{argument.name}"
        templated = isinstance(value, str) and "{{" in value
        if templated and argument.literal:
            self.note(step, at, "This can't hold an expression.")
        elif templated or argument.type == "any":
            return
        elif argument.choices and value not in argument.choices:
            self.note(step, at, f"Use one of {', '.join(argument.choices)}.")
        elif argument.type in {"object", "schema"} and not isinstance(value, Mapping):
            self.note(step, at, "This is an object.")
        elif argument.type in {"text", "duration", "time"} and not isinstance(value, str):
            self.note(step, at, "This is text.")
        elif argument.type == "duration" and parse_duration(str(value)) is None:
            self.note(step, at, "Use a duration such as 30s, 5m, 2h, 3d or PT5M.")

    def retry(self, step: str, kind: Kind, value: object) -> RetryPolicy:
        if value is None:
            return RetryPolicy() if kind.calls_out else ONCE
        if not isinstance(value, Mapping):
            self.note(step, "retry", "`retry` is an object.")
            return ONCE
        self.members(step, "retry", value, _RETRY_MEMBERS)
        codes = value.get("non_retryable", [])
        if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
            self.note(step, "retry.non_retryable", "This is a list of error codes.")
            codes = []
        return RetryPolicy(
            max_attempts=int(self.number(step, value, "max_attempts", 3, 1, 100)),
            initial_interval=self.seconds(step, value, "initial_interval", 1.0),
            backoff_coefficient=self.number(step, value, "backoff_coefficient", 2.0, 1, 10),
            maximum_interval=self.seconds(step, value, "maximum_interval", 60.0),
            jitter=value.get("jitter", True) is not False,
            non_retryable=tuple(codes),
        )

    def number(
        self,
        step: str,
        source: Mapping[str, Any],
        name: str,
        default: float,
        least: float,
        most: float,
    ) -> float:
        value = source.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.note(step, f"retry.{name}", "This is a number.")
            return default
        if not least <= value <= most:
            self.note(step, f"retry.{name}", f"Use a number from {least} to {most}.")
            return default
        return float(value)

    def seconds(self, step: str, source: Mapping[str, Any], name: str, default: float) -> float:
        if name not in source:
            return default
        found = parse_duration(source[name]) if isinstance(source[name], str) else None
        if found is None:
            self.note(step, f"retry.{name}", "Use a duration such as 500ms, 30s or PT5M.")
            return default
        return found.total_seconds()

    def duration(self, step: str, source: Mapping[str, Any], name: str) -> float | None:
        if source.get(name) is None:
            return None
        found = parse_duration(source[name]) if isinstance(source[name], str) else None
        if found is None or found <= timedelta(0):
            self.note(step, name, "Use a duration such as 30s, 5m or PT5M.")
            return None
        return found.total_seconds()

    def text(
        self, step: str | None, source: Mapping[str, Any], name: str, *, required: bool = False
    ) -> str:
        value = source.get(name)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or (required and not value):
            self.note(step, name, "This is text." if value is not None else "Missing.")
            return ""
        return value

    def mapping(self, step: str | None, source: Mapping[str, Any], name: str) -> Json:
        value = source.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.note(step, name, "This is an object.")
            return {}
        return dict(value)

    def members(
        self, step: str | None, at: str, source: Mapping[str, Any], known: tuple[str, ...]
    ) -> None:
        for name in source:
            if name not in known:
                place = f"{at}.{name}" if at else str(name)
                self.note(step, place, f"There is no `{name}` here.", nearest(str(name), known))

    def note(self, step: str | None, at: str, message: str, suggestion: str | None = None) -> None:
        self.problems.append(Problem(step, at, message, suggestion))
