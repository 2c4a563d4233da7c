"""The style page: every token and component in one place, in development only."""

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from studio.calls import ApiCall
from studio.charts import bars, spark

SURFACES = (
    "canvas surface surface-raised surface-sunken line line-strong text text-soft text-faint"
    " accent accent-soft good good-soft warn warn-soft bad bad-soft info info-soft"
    " sandbox production"
)
STATUSES = "active running queued waiting degraded failed stopped draft succeeded canceled"
ICONS = "bot plug database rocket workflow play inbox activity heart-pulse settings"
SAMPLE = {
    "resourceType": "Observation",
    "status": "final",
    "valueQuantity": {"value": 101.2, "unit": "F"},
    "active": True,
    "note": None,
}


def styleguide(request: HttpRequest) -> HttpResponse:
    """Show the design system."""
    if not settings.DEBUG:
        raise Http404
    week = [("Mon", 12, 0), ("Tue", 18, 2), ("Wed", 9, 0), ("Thu", 22, 5), ("Fri", 30, 1)]
    context = {
        "surfaces": SURFACES.split(),
        "statuses": STATUSES.split(),
        "sample": SAMPLE,
        "now": timezone.now(),
        "chart": spark([4.1, 4.4, 4.2, 4.9, 5.6, 5.1], low=3.5, high=5.1),
        "bars": bars(week),
        "call": ApiCall("POST", "/v1/workflows/run", {"workflow_id": "uti_screening"}),
        "icons": ICONS.split(),
    }
    return render(request, "studio/styleguide.html", context)
