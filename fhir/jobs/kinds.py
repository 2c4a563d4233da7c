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

_kinds: dict[str, Kind] = {}


def register(name: str) -> Callable[[Kind], Kind]:
    """Register the function that does a step of a kind of job.

    It runs in a transaction inside the job's tenant and project, with the job locked, and may
    write resources and `add_file`; all of it is kept together with the position that it answers.
    An error of the platform ends the job with its OperationOutcome, others are tried again.
    """

    def add(step: Kind) -> Kind:
        _kinds[name] = step
        return step

    return add


def step_of(name: str) -> Kind:
    """Return the function of a kind; the files of operations register theirs."""
    if name not in _kinds:
        import_module("fhir.operations.registry").operations()
    return _kinds[name]
