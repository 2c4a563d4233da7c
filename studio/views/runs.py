"""Runs: the list with its filters, one run live step by step, and the levers."""

from datetime import timedelta

from django.db.models import Q, QuerySet
from django.http import HttpResponse

from assets import queries as assets
from studio import outline
from studio.calls import ApiCall
from studio.display import duration_between
from studio.findings import Finding, finding_of
from studio.page import Page, studio_page
from studio.paging import page_of
from workflows import parsing, queries, retrying
from workflows import runs as services
from workflows.models import Run, RunStatus, TaskStatus

MOST_ATTEMPTS = 2_000  # of a map over ten thousand items, the page shows the first
FILTERS = ("q", "workflow", "status", "since")


@studio_page("runs", needs="workflow.read")
def runs(page: Page) -> HttpResponse:
    """List the runs, filtered by what stands in the URL."""
    filters = {name: page.request.GET.get(name, "").strip() for name in FILTERS}
    found, next_url = page_of(page, matching(page, filters).order_by("-created_at", "-id"))
    context: dict[str, object] = {
        "rows": [{"run": run, "duration_ms": duration_of(page, run)} for run in found],
        "next_url": next_url,
        "filters": filters,
        "filtered": any(filters.values()),
        "workflows": queries.workflows().order_by("slug").values_list("slug", flat=True),
        "statuses": RunStatus.values,
    }
    return page.render("studio/runs/list.html", context)


def matching(page: Page, filters: dict[str, str]) -> QuerySet[Run]:
    """Return the runs that the filters leave."""
    rows = queries.runs()
    if filters["q"]:
        rows = rows.filter(Q(id=filters["q"]) | Q(patient=filters["q"]))
    if filters["workflow"]:
        rows = rows.filter(slug=filters["workflow"])
    if filters["status"] in RunStatus.values:
        rows = rows.filter(status=filters["status"])
    if filters["since"] in ("1", "7", "30"):
        rows = rows.filter(created_at__gte=page.now - timedelta(days=int(filters["since"])))
    return rows


def duration_of(page: Page, run: Run) -> float | None:
    """Return how long a run took, or has been taking, in milliseconds."""
    return duration_between(run.created_at, run.finished_at or page.now)


@studio_page("runs", needs="workflow.read")
def run(page: Page, run_id: str) -> HttpResponse:
    """Show one run."""
    found = queries.run(run_id)
    parsed = parsing.parse(found.version.definition)
    nodes = outline.of_definition(parsed.definition) if parsed.definition else []
    attempts = queries.steps(found).filter(superseded=False)[:MOST_ATTEMPTS]
    outline.lay_over(nodes, list(attempts), run=found, now=page.now)
    context: dict[str, object] = {
        "run": found,
        "nodes": nodes,
        "duration_ms": duration_of(page, found),
        "tasks": queries.tasks().filter(run=found, status=TaskStatus.OPEN).order_by("created_at"),
        "findings": findings_of(found.id),
        "can_run": page.can("workflow.run"),
        "final": found.final,
        "call": ApiCall("GET", f"/v1/workflows/runs/{found.id}"),
    }
    return page.render("studio/runs/detail.html", context)


def findings_of(run_id: str) -> list[Finding]:
    """Return what the agents of a workflow run concluded, in order."""
    found = assets.agent_runs().filter(parent__run_id=run_id).order_by("started_at")
    return [finding_of(run) for run in found]


@studio_page("runs", needs="workflow.run", writes=True)
def cancel_run(page: Page, run_id: str) -> HttpResponse:
    """End a run now."""
    services.cancel(run_id=run_id, actor=page.actor, now=page.now)
    page.say("The run is canceled.")
    return page.redirect("run", run_id)


@studio_page("runs", needs="workflow.run", writes=True)
def retry_run(page: Page, run_id: str) -> HttpResponse:
    """Run the failed step again; finished steps are reused."""
    retrying.retry(run_id=run_id, actor=page.actor, now=page.now)
    page.say("The run goes on from the failed step.")
    return page.redirect("run", run_id)


@studio_page("runs", needs="workflow.run", writes=True)
def run_again(page: Page, run_id: str) -> HttpResponse:
    """Start a new run with the same input."""
    earlier = queries.run(run_id)
    new = services.start(
        workflow=earlier.slug,
        input=earlier.input,
        trigger="studio",
        actor=page.actor,
        now=page.now,
    )
    return page.redirect("run", new.id)
