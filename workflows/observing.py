"""What can be seen of a run besides its rows: its graph, and its place in time."""

from typing import Any, Final

from django.db.models import QuerySet

from workflows import graph, queries
from workflows.models import Run, StepRun
from workflows.parsing import parse

_MOST: Final = 10_000
_SEEN: Final = ("path", "iteration", "status", "attempt", "started_at", "finished_at")


def graph_of(run: Run) -> dict[str, Any]:
    """Return the run's definition as a graph, with the state of each step."""
    definition = parse(run.version.definition).definition
    rows = _attempts(queries.steps(run).filter(superseded=False))
    drawn = graph.graph(definition, rows) if definition else {"nodes": [], "edges": []}
    return {"object": "workflow_run_graph", "run_id": run.id, "status": run.status, **drawn}


def timeline_of(run: Run) -> dict[str, Any]:
    """Return the run's attempts in time; at most the first ten thousand."""
    began = run.started_at or run.created_at
    return {
        "object": "workflow_run_timeline",
        "run_id": run.id,
        "status": run.status,
        "began_at": began.isoformat(),
        "data": graph.timeline(_attempts(queries.steps(run)), began),
    }


def _attempts(rows: QuerySet[StepRun]) -> list[graph.Attempt]:
    """Return what is drawn of attempts; ten thousand rows of a model take seconds to make."""
    return list(rows.values_list(*_SEEN, named=True)[:_MOST])
