"""Static validation: what expressions refer to, before anything runs. Pure.

Every template and condition must parse; names begin at a known root; a step is referred to only
after it stands; one that may not have run (it stands in a branch, may be skipped, or may have
failed and been passed over) is a warning unless the expression copes with its absence.
"""

from collections.abc import Iterator, Mapping
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
from workflows.parsing import Parsed, nearest, parse

_STEP_FACTS: Final = ("output", "error", "status")


def validate(source: object) -> Parsed:
    """Parse a definition and check its references; all problems are listed."""
    parsed = parse(source)
    if parsed.definition is None:
        return parsed
    parsed.problems.extend(check(parsed.definition))
    if any(problem.severity == "error" for problem in parsed.problems):
        return Parsed(None, parsed.problems)
    return parsed


def check(definition: Definition) -> Iterator[Problem]:
    """Yield the problems of a definition whose shape is right."""
    yield from _schema(None, "input_schema", definition.input_schema)
    visit = _Visit(definition)
    yield from visit.block(definition.steps, certain=True)
    yield from visit.value(None, "output", definition.output)


def _schema(step: str | None, at: str, schema: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        check_schema(schema)
    except SchemaError as error:
        yield Problem(step, at, f"Not a JSON Schema: {error}")


class _Visit:
    """Walks the steps in the order in which they run and knows which have run before."""

    def __init__(self, definition: Definition) -> None:
        self.all = {step.id for step in definition.walk()}
        self.input_names = list(definition.input_schema.get("properties") or {})
        self.closed_input = definition.input_schema.get("additionalProperties") is False
        self.before: set[str] = set()
        self.certain: set[str] = set()

    def block(self, steps: tuple[Step, ...], *, certain: bool) -> Iterator[Problem]:
        for step in steps:
            yield from self.step(step, certain=certain)

    def step(self, step: Step, *, certain: bool) -> Iterator[Problem]:
        if step.skip_if is not None:
            yield from self.condition(step.id, "skip_if", step.skip_if)
        yield from self.value(step.id, "with", step.arguments)
        form = step.arguments.get("form") if step.kind == "approval" else None
        if isinstance(form, Mapping):
            yield from _schema(step.id, "with.form", form)
        self.before.add(step.id)
        known = set(self.certain)
        if step.kind == "decision":
            self.certain.add(step.id)
        for index, branch in enumerate(step.branches):
            yield from self.condition(step.id, f"branches[{index}].when", branch.when)
            yield from self.held(branch.steps)
        yield from self.held(step.otherwise)
        yield from self.held(step.on_timeout or ())
        yield from self.held(step.on_error or ())
        self.certain = known
        survives = step.on_error is not None or step.continue_on_error
        if certain and step.skip_if is None and not survives:
            self.certain.add(step.id)

    def held(self, steps: tuple[Step, ...]) -> Iterator[Problem]:
        """Check steps that may not run; inside, each is certain for those that follow it."""
        outer = set(self.certain)
        yield from self.block(steps, certain=True)
        self.certain = outer

    def value(self, step: str | None, at: str, value: object) -> Iterator[Problem]:
        for place, text in find_templates(value, at):
            try:
                expressions = parse_template(text).expressions
            except ExpressionError as error:
                yield Problem(step, place, str(error))
                continue
            for expression in expressions:
                yield from self.expression(step, place, expression)

    def condition(self, step: str, at: str, text: str) -> Iterator[Problem]:
        if "{{" in text:
            yield Problem(step, at, "A condition is an expression already; leave out the braces.")
            return
        try:
            expression = parse_expression(text)
        except ExpressionError as error:
            yield Problem(step, at, str(error))
            return
        yield from self.expression(step, at, expression)

    def expression(self, step: str | None, at: str, expression: Expression) -> Iterator[Problem]:
        for reference in expression.references:
            yield from self.reference(step, at, reference)

    def reference(self, step: str | None, at: str, reference: Reference) -> Iterator[Problem]:
        root, *rest = reference.path
        if root not in ROOTS:
            known = ", ".join(ROOTS)
            message = f"Names begin at {known}; there is no `{root}`."
            yield Problem(step, at, message, nearest(root, ROOTS))
        elif root == "steps" and rest:
            yield from self.step_reference(step, at, reference, rest)
        elif root == "input" and rest and self.closed_input and rest[0] not in self.input_names:
            message = f"The input schema has no `{rest[0]}`."
            yield Problem(step, at, message, nearest(rest[0], self.input_names))

    def step_reference(
        self, step: str | None, at: str, reference: Reference, rest: list[str]
    ) -> Iterator[Problem]:
        name = rest[0]
        if name not in self.all:
            yield Problem(step, at, f"There is no step `{name}`.", nearest(name, sorted(self.all)))
        elif name not in self.before or name == step:
            yield Problem(step, at, f"Step `{name}` has not run yet at this place.")
        elif len(rest) > 1 and rest[1] not in _STEP_FACTS:
            message = f"A step has {', '.join(_STEP_FACTS)}; write steps.{name}.output.{rest[1]}."
            yield Problem(step, at, message, "output")
        elif name not in self.certain and not reference.guarded:
            message = f"Step `{name}` may not have run; the value is then empty."
            suggestion = f"coalesce({'.'.join(reference.path)}, …)"
            yield Problem(step, at, message, suggestion, severity="warning")
