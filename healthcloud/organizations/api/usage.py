"""/v1/usage."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import ClassVar

from rest_framework.request import Request
from rest_framework.response import Response

from healthcloud.errors import BadRequest
from healthcloud.organizations import usage
from healthcloud.organizations.api.base import OrganizationView

_LONGEST = timedelta(days=366)


class Usage(OrganizationView):
    """What the caller's environment uses."""

    required_scopes: ClassVar[Mapping[str, str]] = {"GET": "*"}

    def get(self, request: Request) -> Response:
        """Requests, runs, resources and storage by day and project; `since` and `until` are dates.

        Without them the last 30 days are answered. Days are in UTC.
        """
        until = self._date("until", self.now.date())
        since = self._date("since", until - timedelta(days=29))
        if not timedelta(0) <= until - since <= _LONGEST:
            raise BadRequest("`since` is at most a year before `until`.", param="since")
        days = usage.daily(
            environment_id=self.principal.environment_id,
            project_id=self.scope.project_id,
            since=since,
            until=until,
        )
        meta = {"cursor": None, "has_more": False, "total": len(days)}
        return Response({"data": days, "meta": meta, "current": usage.current()})

    def _date(self, name: str, default: date) -> date:
        text = self.request.query_params.get(name)
        if text is None:
            return default
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise BadRequest(f"`{name}` is a date such as 2026-11-22.", param=name) from error
