"""Tasks: the decisions that runs wait for."""

from django.http import HttpResponse

from assets.forms import SchemaForm
from healthcloud.organizations.permissions import roles_of
from studio.calls import ApiCall
from studio.page import Page, studio_page
from studio.paging import page_of
from studio.views.runs import findings_of
from workflows import queries
from workflows import runs as services
from workflows.models import TaskStatus


@studio_page("tasks", needs="workflow.read")
def tasks(page: Page) -> HttpResponse:
    """List open or decided tasks."""
    status = "decided" if page.request.GET.get("status") == "decided" else "open"
    rows = queries.tasks().select_related("run").order_by("-created_at", "-id")
    is_open = {"status": TaskStatus.OPEN}
    rows = rows.filter(**is_open) if status == "open" else rows.exclude(**is_open)
    found, next_url = page_of(page, rows)
    context: dict[str, object] = {"rows": found, "next_url": next_url, "status": status}
    return page.render("studio/tasks/list.html", context)


@studio_page("tasks", needs="workflow.read")
def task(page: Page, task_id: str) -> HttpResponse:
    """Show one decision with what the agents found."""
    found = queries.task(task_id)
    context: dict[str, object] = {
        "task": found,
        "form": SchemaForm(found.form),
        "findings": findings_of(found.run_id),
        "can_decide": page.can("task.decide"),
        "call": ApiCall("POST", f"/v1/tasks/{found.id}/decide", {"decision": "approved"}),
    }
    return page.render("studio/tasks/detail.html", context)


@studio_page("tasks", needs="task.decide", writes=True)
def decide(page: Page, task_id: str) -> HttpResponse:
    """Approve or reject; the run goes on."""
    decision = page.request.POST.get("decision", "")
    form = SchemaForm(queries.task(task_id).form, data=page.request.POST)
    if decision == TaskStatus.APPROVED and not form.is_valid():
        return page.refuse(form, "task", task_id)
    services.decide_task(
        task_id=task_id,
        decision=decision,
        data=form.config() if decision == TaskStatus.APPROVED else None,
        comment=page.request.POST.get("comment", ""),
        roles=roles_of(page.principal),
        actor=page.actor,
        now=page.now,
    )
    page.say("Approved. The run goes on." if decision == "approved" else "Rejected.")
    return page.redirect("task", task_id)
