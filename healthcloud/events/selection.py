"""Which events a reader wants: by type pattern, severity, source and project."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from operator import or_

from django.db.models import Q
from django.http import QueryDict

from healthcloud.errors import BadRequest, ValidationFailed
from healthcloud.events import catalog
from healthcloud.events.models import Event, Severity


@dataclass(frozen=True, slots=True)
class Selection:
    """A filter over events; an empty member takes everything.

    Without types everything but the `fhir.…` types is taken, which have to be named.
    """

    types: tuple[str, ...] = ("*",)
    severities: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    project_id: str | None = None

    def accepts(self, event: Event) -> bool:
        """Say whether the event is wanted, as `condition` does in SQL."""
        return (
            (self.project_id is None or event.project_id == self.project_id)
            and (not self.severities or event.severity in self.severities)
            and (not self.sources or event.source in self.sources)
            and any(catalog.matches(pattern, event.type) for pattern in self.types)
        )

    def condition(self) -> Q:
        """Return the filter as a condition on Event."""
        condition = reduce(or_, (_type_condition(pattern) for pattern in self.types))
        if self.project_id is not None:
            condition &= Q(project_id=self.project_id)
        if self.severities:
            condition &= Q(severity__in=self.severities)
        if self.sources:
            condition &= Q(source__in=self.sources)
        return condition


def _type_condition(pattern: str) -> Q:
    if pattern == "*":
        return ~Q(type__startswith="fhir.")
    if pattern.endswith(".*"):
        return Q(type__startswith=pattern[:-1])
    return Q(type=pattern)


def build(
    *,
    types: Iterable[str] = (),
    severities: Iterable[str] = (),
    sources: Iterable[str] = (),
    project_id: str | None = None,
) -> Selection:
    """Return a checked selection; BadRequest names the value that can match nothing."""
    try:
        patterns = tuple(catalog.check_pattern(pattern) for pattern in types)
    except ValidationFailed as error:
        raise BadRequest(error.message, param="type") from error
    wanted = frozenset(severities)
    if not wanted <= set(Severity.values):
        raise BadRequest(f"`severity` is one of {', '.join(Severity.values)}.", param="severity")
    return Selection(patterns or ("*",), wanted, frozenset(sources), project_id)


def from_query(query: QueryDict, *, project_id: str | None) -> Selection:
    """Read `type`, `severity` and `source`, each repeated or separated by commas."""
    return build(
        types=_values(query, "type"),
        severities=_values(query, "severity"),
        sources=_values(query, "source"),
        project_id=project_id,
    )


def _values(query: QueryDict, name: str) -> list[str]:
    return [part for text in query.getlist(name) for part in text.split(",") if part]
