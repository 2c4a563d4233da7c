"""Events: the live tail with filters, and one event with what it caused."""

from django.http import HttpResponse

from healthcloud.errors import BadRequest
from healthcloud.events import numbering, queries, selection
from healthcloud.events.models import Event, Severity
from studio.calls import ApiCall
from studio.page import Page, studio_page

SHOWN = 50


@studio_page("events", needs="event.read")
def events(page: Page) -> HttpResponse:
    """Show the latest events; new ones arrive by websocket."""
    last = numbering.number_committed()
    problem = ""
    try:
        chosen = selection.from_query(page.request.GET, project_id=page.project.id)
    except BadRequest as error:
        problem, chosen = error.message, selection.build(project_id=page.project.id)
    context: dict[str, object] = {
        "events": queries.numbered(chosen).order_by("-sequence")[:SHOWN],
        "severities": Severity.values,
        "filters": {
            name: page.request.GET.get(name, "") for name in ("type", "severity", "source")
        },
        "problem": problem,
        "live_after": last,
        "call": ApiCall("GET", f"/v1/events/stream?project_id={page.project.id}"),
    }
    return page.render("studio/events/list.html", context)


@studio_page("events", needs="event.read")
def event(page: Page, event_id: str) -> HttpResponse:
    """Show one event, its cause and what it caused."""
    found = queries.find_event(event_id)
    context: dict[str, object] = {
        "event": found,
        "body": queries.as_dict(found, page.scope),
        "caused": Event.objects.filter(causation_id=event_id).order_by("position")[:50],
        "links": links_of(page, found.payload),
    }
    return page.render("studio/events/detail.html", context)


ROUTES = {
    "run_id": ("run", "Run"),
    "deployment_id": ("deployment", "Deployment"),
    "installation_id": ("installation", "Installation"),
    "webhook_id": ("webhook", "Webhook"),
    "workflow_id": ("workflow", "Workflow"),
    "workflow": ("workflow", "Workflow"),
}


def links_of(page: Page, payload: dict[str, object]) -> list[tuple[str, str, str]]:
    """Return label, text and address of every page that an event's payload names."""
    found = []
    for name, value in payload.items():
        if not isinstance(value, str) or not value:
            continue
        if name in ROUTES:
            route, label = ROUTES[name]
            found.append((label, value, page.url(route, value)))
        elif value.count("/") == 1 and value[:1].isupper():
            kind, _, id_ = value.partition("/")
            found.append((kind, value, page.url("resource", kind, id_)))
    return found
