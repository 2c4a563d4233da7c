"""Static validation: what expressions refer to, before anything runs. Pure.

Every template and condition must parse; names begin at a known root; a step is referred to only
after it stands; one that may not have run (it stands in a branch, may be skipped, or may have
failed and been passed over) is a warning unless the expression copes with its absence.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from workflows.definition import Definition, Problem, Step
from workflows.expressions import (
    ROOTS,
    Expression,
    ExpressionError,
    Reference,
    find_templates,
    parse_expression,
    parse_template,
)
from workflows.inputs import SchemaError, check_schema
from workflows.kinds import KINDS
from workflows.parsing import Parsed, nearest, parse

_STEP_FACTS: Final = ("output", "error", "status")


def validate(source: object) -> Parsed:
    """Parse a definition and check its references; all problems are listed."""
    parsed = parse(source)
    if parsed.readable is None:
        return parsed
    parsed.problems.extend(check(parsed.readable, parsed.unreadable))
    if any(problem.severity == "error" for problem in parsed.problems):
        return Parsed(None, parsed.problems, parsed.readable)
    return parsed


def check(definition: Definition, unreadable: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """Yield what is wrong with what a definition refers to; `unreadable` steps are passed over."""
    yield from _schema(None, "input_schema", definition.input_schema)
    visit = _Visit(definition, unreadable)
    yield from visit.block(definition.steps, _TOP)
    yield from visit.value(None, "output", definition.output, _TOP)
    yield from visit.failing(definition.on_failure)
    yield from visit.starting(definition)


def _schema(step: str | None, at: str, schema: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        check_schema(schema)
    except SchemaError as error:
        yield Problem(step, at, f"Not a JSON Schema: {error}")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where expressions stand: in which loops and maps, beside which branches, what they name."""

    within: tuple[str, ...] = ()
    beside: tuple[tuple[str, int], ...] = ()
    roots: tuple[str, ...] = tuple(root for root in ROOTS if root != "item")


_TOP: Final = _Place()
_STARTING: Final = _Place(roots=("trigger", "env"))
_KEYING: Final = _Place(roots=("input", "trigger", "env"))


class _Visit:
    """Walks the steps in the order in which they run and knows which have run before."""

    def __init__(self, definition: Definition, unreadable: frozenset[str]) -> None:
        self.unreadable = unreadable
        self.all = {step.id: step for step in definition.walk()}
        self.names = {step.path: step.id for step in definition.walk()}
        properties = definition.input_schema.get("properties")
        self.input_names = list(properties) if isinstance(properties, Mapping) else []
        self.closed_input = definition.input_schema.get("additionalProperties") is False
        self.before: set[str] = set()
        self.certain: set[str] = set()

    def block(self, steps: tuple[Step, ...], place: _Place) -> Iterator[Problem]:
        for step in steps:
            yield from self.step(step, place)

    def step(self, step: Step, place: _Place) -> Iterator[Problem]:
        if step.skip_if is not None:
            yield from self.condition(step.id, "skip_if", step.skip_if, place)
        yield from self.arguments(step, place)
        if step.cache is not None and step.cache.key is not None:
            yield from self.value(step.id, "cache.key", step.cache.key, place)
        self.before.add(step.id)
        known = set(self.certain)
        yield from self.branches(step, place)
        yield from self.body(step, place)
        yield from self.held(step.otherwise, place)
        yield from self.held(step.on_error or (), place)
        self.certain.add(step.id)  # what follows has its output
        yield from self.held(step.on_timeout or (), place)
        yield from self.held(step.compensate or (), place)
        for_sure = self.certain if step.kind == "parallel" else set()
        self.certain = known | for_sure
        survives = step.on_error is not None or step.continue_on_error
        if step.skip_if is not None or survives:
            self.certain = known
        else:
            self.certain.add(step.id)

    def branches(self, step: Step, place: _Place) -> Iterator[Problem]:
        if step.kind == "parallel":
            yield from self.side_by_side(step, place)
            return
        if step.kind == "decision":
            self.certain.add(step.id)
        for index, branch in enumerate(step.branches):
            yield from self.condition(step.id, f"branches[{index}].when", branch.when, place)
            yield from self.held(branch.steps, place)

    def side_by_side(self, step: Step, place: _Place) -> Iterator[Problem]:
        """Check branches that run at the same time: none sees another's steps."""
        outer, together = set(self.certain), set(self.certain)
        for index, branch in enumerate(step.branches):
            self.certain = set(outer)
            inner = replace(place, beside=(*place.beside, (step.path, index)))
            yield from self.block(branch.steps, inner)
            together |= self.certain
        self.certain = together if step.arguments.get("join", "all") == "all" else outer

    def body(self, step: Step, place: _Place) -> Iterator[Problem]:
        """Check what runs several times, and what is looked at after each time."""
        if not step.iterates:
            return
        outer = set(self.certain)
        inner = replace(place, within=(*place.within, step.path), roots=ROOTS)
        yield from self.block(step.steps, inner)
        yield from self.value(step.id, "with.output", step.arguments.get("output"), inner)
        if step.kind == "loop":
            until = str(step.arguments.get("until", ""))
            yield from self.condition(step.id, "with.until", until, inner)
        self.certain = outer

    def held(self, steps: tuple[Step, ...], place: _Place) -> Iterator[Problem]:
        """Check steps that may not run; inside, each is certain for those that follow it."""
        outer = set(self.certain)
        yield from self.block(steps, place)
        self.certain = outer

    def failing(self, steps: tuple[Step, ...]) -> Iterator[Problem]:
        """Check what runs when the run fails, at whichever step."""
        self.certain = set()
        yield from self.block(steps, _TOP)

    def starting(self, definition: Definition) -> Iterator[Problem]:
        """Check what triggers hand over, and what a limit on runs counts by."""
        for at, trigger in definition.placed_triggers():
            yield from self.value(None, f"{at}.input", trigger.get("input"), _STARTING)
            if trigger.get("when"):
                yield from self.condition(None, f"{at}.when", trigger["when"], _STARTING)
        yield from self.value(None, "concurrency.key", definition.limits.key, _KEYING)

    # --- expressions --------------------------------------------------------------------------

    def arguments(self, step: Step, place: _Place) -> Iterator[Problem]:
        kind = KINDS[step.kind]
        deferred = {argument.name for argument in kind.arguments if argument.deferred}
        given = {name: v for name, v in step.arguments.items() if name not in deferred}
        yield from self.value(step.id, "with", given, place)
        form = step.arguments.get("form") if step.kind == "approval" else None
        if isinstance(form, Mapping):
            yield from _schema(step.id, "with.form", form)

    def value(self, step: str | None, at: str, value: object, place: _Place) -> Iterator[Problem]:
        for where, text in find_templates(value, at):
            try:
                expressions = parse_template(text).expressions
            except ExpressionError as error:
                yield Problem(step, where, str(error))
                continue
            for expression in expressions:
                yield from self.expression(step, where, expression, place)

    def condition(self, step: str | None, at: str, text: str, place: _Place) -> Iterator[Problem]:
        if "{{" in text:
            yield Problem(step, at, "A condition is an expression already; leave out the braces.")
            return
        try:
            expression = parse_expression(text)
        except ExpressionError as error:
            yield Problem(step, at, str(error))
            return
        yield from self.expression(step, at, expression, place)

    def expression(
        self, step: str | None, at: str, expression: Expression, place: _Place
    ) -> Iterator[Problem]:
        for reference in expression.references:
            yield from self.reference(step, at, reference, place)

    def reference(
        self, step: str | None, at: str, reference: Reference, place: _Place
    ) -> Iterator[Problem]:
        root, *rest = reference.path
        if root == "item" and "item" not in place.roots:
            message = "`item` is the item of a map or the round of a loop; this stands in neither."
            yield Problem(step, at, message)
        elif root not in place.roots:
            known = ", ".join(place.roots)
            message = f"Names begin at {known} here; there is no `{root}`."
            yield Problem(step, at, message, nearest(root, place.roots))
        elif root == "steps" and rest:
            yield from self.step_reference(step, at, reference, place)
        elif root == "input" and rest and self.closed_input and rest[0] not in self.input_names:
            message = f"The input schema has no `{rest[0]}`."
            yield Problem(step, at, message, nearest(rest[0], self.input_names))

    def step_reference(
        self, step: str | None, at: str, reference: Reference, place: _Place
    ) -> Iterator[Problem]:
        _, name, *rest = reference.path
        found = self.all.get(name)
        if name in self.unreadable:
            return
        if found is None:
            yield Problem(step, at, f"There is no step `{name}`.", nearest(name, sorted(self.all)))
        elif hidden := self.hidden(found, place):
            yield Problem(step, at, *hidden)
        elif name not in self.before or name == step:
            yield Problem(step, at, f"Step `{name}` has not run yet at this place.")
        elif rest and rest[0] not in _STEP_FACTS:
            message = f"A step has {', '.join(_STEP_FACTS)}; write steps.{name}.output.{rest[0]}."
            yield Problem(step, at, message, "output")
        elif name not in self.certain and not reference.guarded:
            message = f"Step `{name}` may not have run; the value is then empty."
            suggestion = f"coalesce({'.'.join(reference.path)}, …)"
            yield Problem(step, at, message, suggestion, severity="warning")

    def hidden(self, found: Step, place: _Place) -> tuple[str, str | None] | None:
        """Return why a step can't be seen from a place, and what can be seen instead."""
        depth = len(found.within)
        if found.within != place.within[:depth]:
            around = self.names[found.within[-1]]
            member = "results" if self.all[around].kind == "map" else "output"
            message = f"Step `{found.id}` runs several times inside `{around}`."
            return message, f"steps.{around}.output.{member}"
        for path, index in found.beside:
            if any(path == other and index != mine for other, mine in place.beside):
                return f"Step `{found.id}` runs at the same time, in another branch.", None
        return None
