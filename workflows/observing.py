"""What can be seen of a run besides its rows: its graph, and its place in time."""

from typing import Any, Final

from workflows import graph, queries
from workflows.models import Run
from workflows.parsing import parse

_MOST: Final = 10_000


def graph_of(run: Run) -> dict[str, Any]:
    """Return the run's definition as a graph, with the state of each step."""
    definition = parse(run.version.definition).definition
    rows = queries.steps(run).filter(superseded=False).defer("input", "output")[:_MOST]
    drawn = graph.graph(definition, list(rows)) if definition else {"nodes": [], "edges": []}
    return {"object": "workflow_run_graph", "run_id": run.id, "status": run.status, **drawn}


def timeline_of(run: Run) -> dict[str, Any]:
    """Return the run's attempts in time; at most the first ten thousand."""
    rows = list(queries.steps(run).defer("input", "output")[:_MOST])
    began = run.started_at or run.created_at
    return {
        "object": "workflow_run_timeline",
        "run_id": run.id,
        "status": run.status,
        "began_at": began.isoformat(),
        "data": graph.timeline(rows, began),
    }
