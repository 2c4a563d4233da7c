"""The kinds of jobs: each a function that does one step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module

from fhir.documents import JsonObject
from fhir.jobs.table import Job


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One step is done; the next begins at `position`. `progress` goes into `X-Progress`."""

    position: JsonObject
    progress: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """All is done: what the status address answers from now on."""

    result: JsonObject = field(default_factory=dict)
    status: int = 200
    progress: str = "done"


Step = Unfinished | Finished
Kind = Callable[[Job, datetime], Step]
Before = Callable[[Job], object]

_kinds: dict[str, Kind] = {}
_before: dict[str, Before] = {}


def register(name: str, *, before: Before | None = None) -> Callable[[Kind], Kind]:
    """Register the function that does a step of a kind of job.

    It runs in a transaction inside the job's tenant and project, with the job locked, and may
    write resources and `add_file`; all of it is kept together with the position that it answers.
    An error of the platform ends the job with its OperationOutcome, others are tried again.
    `before` runs ahead of each step with no transaction open, for what takes long such as a
    download; what it answers is the job's `prepared`.
    """

    def add(step: Kind) -> Kind:
        _kinds[name] = step
        if before is not None:
            _before[name] = before
        return step

    return add


def step_of(name: str) -> Kind:
    """Return the function of a kind; the files of operations register theirs."""
    if name not in _kinds:
        import_module("fhir.operations.registry").operations()
    return _kinds[name]


def before_of(name: str) -> Before | None:
    """Return what runs ahead of each step of a kind, None where nothing does."""
    step_of(name)
    return _before.get(name)
