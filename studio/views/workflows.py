"""Workflows: the list, one as an outline of its steps, and the form that runs it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Avg, Count, F, Q
from django.http import HttpResponse

from assets.forms import SchemaForm
from studio import outline
from studio.calls import ApiCall
from studio.page import Page, studio_page
from studio.views.first_steps import some_patients
from workflows import parsing, queries, runs
from workflows.inputs import SchemaError, check_schema
from workflows.models import Run, RunStatus, Workflow

RECENT = timedelta(days=7)
_NO_RUNS: dict[str, object] = {"count": None, "success_rate": None, "mean": None}


@studio_page("workflows", needs="workflow.read")
def workflows(page: Page) -> HttpResponse:
    """List the workflows with how they fared in the last seven days."""
    counts = {row["workflow_id"]: row for row in recent_counts(page)}
    latest = {run.workflow_id: run for run in latest_runs()}
    rows = [
        {"workflow": found, "last": latest.get(found.id), **counts.get(found.id, _NO_RUNS)}
        for found in queries.workflows().order_by("name", "id")
    ]
    return page.render("studio/workflows/list.html", {"rows": rows})


def recent_counts(page: Page) -> list[dict[str, object]]:
    """Return for each workflow its count of runs, success rate and mean duration in ms."""
    since = queries.runs().filter(created_at__gte=page.now - RECENT)
    over = Q(status__in=(RunStatus.COMPLETED, RunStatus.FAILED))
    grouped = (
        since.order_by()
        .values("workflow_id")
        .annotate(
            count=Count("id"),
            over=Count("id", filter=over),
            completed=Count("id", filter=Q(status=RunStatus.COMPLETED)),
            took=Avg(F("finished_at") - F("created_at"), filter=Q(status=RunStatus.COMPLETED)),
        )
    )
    return [
        {
            "workflow_id": row["workflow_id"],
            "count": row["count"],
            "success_rate": round(100 * row["completed"] / row["over"]) if row["over"] else None,
            "mean": row["took"].total_seconds() * 1000 if row["took"] else None,
        }
        for row in grouped
    ]


def latest_runs() -> list[Run]:
    """Return the latest run of each workflow."""
    return list(
        queries.runs().order_by("workflow_id", "-created_at", "-id").distinct("workflow_id")
    )


@studio_page("workflows", needs="workflow.read")
def workflow(page: Page, slug: str) -> HttpResponse:
    """Show a workflow: outline, versions or definition, and the form to run it."""
    found = queries.workflow(slug)
    return page.render("studio/workflows/detail.html", context_of(page, found))


def context_of(page: Page, found: Workflow, form: SchemaForm | None = None) -> dict[str, object]:
    """Return all that the workflow page shows; `form` is one that was refused."""
    source = found.draft
    if found.published_number is not None:
        source = queries.version(found).definition
    parsed = parsing.parse(source)
    schema = _input_schema(source)
    given = {
        name: page.request.GET[name]
        for name in schema.get("properties", {})
        if name in page.request.GET
    }
    example = {name: given.get(name, "pat_123") for name in list(schema.get("properties", {}))[:1]}
    return {
        "workflow": found,
        "definition": source,
        "nodes": outline.of_definition(parsed.definition) if parsed.definition else [],
        "problems": [problem for problem in parsed.problems if problem.severity == "error"],
        "form": suggest_patients(form or SchemaForm(schema, initial=given)),
        "patients": some_patients(page) if "patient_id" in schema.get("properties", {}) else [],
        "runs": queries.runs().filter(workflow=found).order_by("-created_at", "-id")[:6],
        "versions": queries.versions(found).order_by("-number"),
        "tab": page.request.GET.get("tab", "outline"),
        "can_run": page.can("workflow.run"),
        "can_promote": page.is_sandbox and page.can("workflow.write"),
        "call": ApiCall("POST", "/v1/workflows/run", {"workflow_id": found.slug, "input": example}),
    }


def _input_schema(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema that the form is made of, an empty one for a draft that has none yet."""
    schema = definition.get("input_schema") or {}
    try:
        check_schema(schema)
    except SchemaError:
        return {}
    return dict(schema) if isinstance(schema, Mapping) else {}


def suggest_patients(form: SchemaForm) -> SchemaForm:
    """Let the field `patient_id` suggest the project's patients."""
    if "patient_id" in form.fields:
        form.fields["patient_id"].widget.attrs["list"] = "patients"
    return form


@studio_page("workflows", needs="workflow.run", writes=True)
def run_workflow(page: Page, slug: str) -> HttpResponse:
    """Start a run with the filled-in input, and go to it."""
    found = queries.workflow(slug)
    schema = queries.version(found).definition.get("input_schema") or {}
    form = SchemaForm(schema, data=page.request.POST)
    if not form.is_valid():
        context = context_of(page, found, form)
        return page.render("studio/workflows/detail.html", context, status=422)
    run = runs.start(
        workflow=slug, input=form.config(), trigger="studio", actor=page.actor, now=page.now
    )
    return page.redirect("run", run.id)
