"""Home: the five steps as a checklist that performs them, and what happens in the project."""

from datetime import timedelta

from django.db.models import Count, Q
from django.db.models.functions import TruncDate
from django.http import HttpResponse

from assets import queries as assets
from assets.models import DeploymentStatus
from healthcloud.events.models import Event
from studio import charts
from studio.first_steps import DATASET, first_steps
from studio.page import Page, studio_page
from studio.views.first_steps import some_patients
from workflows import queries as workflows
from workflows.models import RunStatus

DAYS = 14


@studio_page("home", needs="organization.read")
def home(page: Page) -> HttpResponse:
    """Show the checklist, recent runs, failing deployments, latest events and usage."""
    steps = first_steps(page)
    week = workflows.runs().filter(created_at__gte=page.now - timedelta(days=DAYS))
    context: dict[str, object] = {
        "steps": steps,
        "done": sum(step.done for step in steps),
        "patients": some_patients(page),
        "runs": workflows.runs().order_by("-created_at", "-id")[:6],
        "failing": assets.deployments()
        .filter(status__in=(DeploymentStatus.FAILED, DeploymentStatus.DEGRADED))
        .order_by("-updated_at")[:5],
        "events": Event.objects.order_by("-position")[:8],
        "totals": week.aggregate(
            all=Count("id"),
            completed=Count("id", filter=Q(status=RunStatus.COMPLETED)),
            failed=Count("id", filter=Q(status=RunStatus.FAILED)),
        ),
        "dataset": assets.deployment_of(DATASET, page.project.id),
        "deployed": assets.deployments().filter(status=DeploymentStatus.ACTIVE).count(),
        "bars": run_bars(page),
    }
    return page.render("studio/home/home.html", context)


def run_bars(page: Page) -> list[charts.Bar]:
    """Return the runs of each of the last days, failed ones apart."""
    first = (page.now - timedelta(days=DAYS - 1)).date()
    rows = (
        workflows.runs()
        .filter(created_at__date__gte=first)
        .order_by()
        .annotate(day=TruncDate("created_at"))
        .values("day")
        .annotate(total=Count("id"), failed=Count("id", filter=Q(status=RunStatus.FAILED)))
    )
    by_day = {row["day"]: (row["total"], row["failed"]) for row in rows}
    days = [first + timedelta(days=offset) for offset in range(DAYS)]
    return charts.bars([(f"{day:%b %-d}", *by_day.get(day, (0, 0))) for day in days])
