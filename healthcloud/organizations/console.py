"""The admin console's first page, and its content security policy."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils import timezone

from healthcloud.ledger import queries as ledger
from healthcloud.organizations.models import ApiKey, Environment, Organization, User

_PATH: Final = "/admin/"
# Unfold's Alpine.js evaluates expressions in its templates, and sets styles; scripts still come
# from this server only.
_LOOSENED: Final = {"script-src": ["'unsafe-eval'"], "style-src": ["'unsafe-inline'"]}


class ConsolePolicyMiddleware:
    """Let pages below /admin/ evaluate expressions; staff only ever see them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.get_loosened = csp_update(_LOOSENED)(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, with the looser policy for the console."""
        if request.path.startswith(_PATH):
            return self.get_loosened(request)
        return self.get_response(request)


def dashboard(request: HttpRequest, context: dict[str, object]) -> dict[str, object]:
    """Add the figures of the first page (Unfold's DASHBOARD_CALLBACK)."""
    recently = timezone.now() - timedelta(days=1)
    active = Environment.Status.ACTIVE
    not_ready = Environment.objects.exclude(status=active).count()
    context["figures"] = [
        _figure("Organizations", Organization.objects.count(), "customers", "organization"),
        _figure(
            "Tenants",
            Environment.objects.filter(status=active).count(),
            f"{not_ready} not active" if not_ready else "all active",
            "environment",
        ),
        _figure("People", User.objects.filter(is_active=True).count(), "can sign in", "user"),
        _figure(
            "API keys",
            ApiKey.objects.filter(revoked_at=None).count(),
            f"{ApiKey.objects.filter(last_used_at__gte=recently).count()} used in 24 hours",
            "apikey",
        ),
    ]
    context["queues"] = {
        "headers": ["Queue", "Due", "Oldest"],
        "rows": [[row.queue, row.due, f"{row.age:.0f} s"] for row in ledger.backlogs()],
    }
    return context


def _figure(title: str, value: int, note: str, model: str) -> dict[str, object]:
    href = reverse(f"admin:organizations_{model}_changelist")
    return {"title": title, "value": value, "note": note, "href": href}
