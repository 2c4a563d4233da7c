"""The effects of steps by kind, and what an effect is given and answers."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from typing import Any, Protocol

from healthcloud.actors import Actor
from healthcloud.events.models import Event
from healthcloud.tenancy.scope import Scope
from workflows.definition import Step
from workflows.engine import Waiting
from workflows.models import Run

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of a step: resolved arguments, who acts, and the key that makes it happen once.

    `key` is the same for every attempt of the same step of the same run.
    """

    run: Run
    step: Step
    arguments: Json
    attempt: int
    key: str
    actor: Actor
    now: datetime
    scope: Scope
    lane: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """The step waits; `task` is what to ask a person, if anything."""

    waiting: Waiting
    task: Json | None = None


class Inside(Protocol):
    """An effect of the database alone: runs in the step's transaction and answers the output."""

    def __call__(self, call: Call) -> Any: ...  # noqa: ANN401  # any JSON value


@dataclass(frozen=True, slots=True)
class Outside:
    """An effect that calls out: `execute` without a transaction, `commit` in the step's.

    `execute` writes nothing; what it answers is handed to `commit`, which answers the output, or
    to `abandon` with the error when it could not be committed.
    """

    execute: Callable[[Call], Any]
    commit: Callable[[Call, Any], Any]
    abandon: Callable[[Call, Any, Exception], None]


@dataclass(frozen=True, slots=True)
class Waits:
    """An effect that waits: answers what for. What it writes is written with the step's row."""

    begin: Callable[[Call], Wait]


@dataclass(frozen=True, slots=True)
class Tells:
    """An effect that is an event and nothing else: it needs no commit of its own.

    `compose` makes the event without the database; it is published with the next commit of the
    run. `output` says what the step gives.
    """

    compose: Callable[[Call], Event]
    output: Callable[[Event], Any]


Effect = Inside | Outside | Waits | Tells
_effects: dict[str, Effect] = {}
_lockless: dict[str, Callable[[Json], bool]] = {}


def register(
    kind: str, effect: Effect, *, lockless: Callable[[Json], bool] = lambda arguments: False
) -> None:
    """Register the effect of a kind of step.

    `lockless` says of arguments whether an `Inside` effect with them holds nothing that others
    may have to wait for, so that more can be done before it is committed.
    """
    _effects[kind] = effect
    _lockless[kind] = lockless


def effect_of(kind: str) -> Effect:
    """Return the effect of a kind, importing `workflows.steps.<kind>` on first use."""
    if kind not in _effects:
        import_module(f"workflows.steps.{kind}")
    return _effects[kind]


def holds_nothing(kind: str, arguments: Json) -> bool:
    """Return whether nobody has to wait for the effect of a registered kind to be committed."""
    return _lockless[kind](arguments)
