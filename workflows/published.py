"""The published version of a workflow, as a start needs it: read at once, parsed once, remembered.

What a process has read it keeps with the `xmin` of the workflow's row, which any change of the
workflow changes. A start that uses what was kept writes its run only if that still is the row.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from django.db import connection

from healthcloud.organizations.access import run_duration_for
from healthcloud.tenancy.pipeline import Statement
from healthcloud.tenancy.scope import active_project, active_scope, is_direct
from workflows.definition import NO_LIMITS, Definition, Limits, Step
from workflows.models import WorkflowVersion
from workflows.parsing import parse
from workflows.queries import NotPublished, VersionNotFound, WorkflowNotFound

# What is nothing but data, or rows that commit with the run: all that a run in place may do.
PLAIN: Final = frozenset({"transform", "decision", "fail", "stop", "emit"})
# What changes no more than rows of our own either, but reads and writes in between.
OWN: Final = frozenset({"fhir_read", "fhir_search", "fhir_create", "fhir_update", "fhir_patch"})
_OWN_STEPS: Final = 12
_LIGHT: Final = frozenset({"fhir_read", "fhir_search", "fhir_create"})
_REMEMBERED: Final = 1000
_SLOW_SECONDS: Final = 60.0
_STRIKES: Final = 3  # in a row: once may be the collector of garbage, or a first parse
_FIND: Final = """
SELECT w.id, w.xmin::text, w.published_number, v.id, o.plan
  FROM workflows_workflow w
  JOIN public.organizations_organization o ON o.id = %s
  LEFT JOIN workflows_workflowversion v
    ON v.workflow_id = w.id AND v.number = w.published_number
 WHERE w.project_id = %s AND w.slug = %s AND w.deleted_at IS NULL
"""
_PLAN: Final = "SELECT plan FROM public.organizations_organization WHERE id = %s"
_STILL: Final = """
FROM workflows_workflow w
JOIN public.organizations_organization o ON o.id = %s AND o.plan = %s
WHERE w.id = %s AND w.xmin = %s AND w.deleted_at IS NULL
"""
ALWAYS: Final = Statement("FROM (SELECT) always")
_slow_until: dict[str, float] = {}  # version → when a run of it may be tried in place again
_strikes: dict[str, int] = {}  # version → how many runs in a row took long


class NotRemembered(LookupError):
    """This process has not read the workflow yet, and may not read in a direct scope."""


@dataclass(frozen=True, slots=True)
class Version:
    """What is in a published version, which never changes.

    `definition` is None where it can't be read any more. `is_plain` when a run of it needs
    nobody but who starts it, `is_own` when it needs the database in between, too.
    """

    input_schema: dict[str, Any]
    definition: Definition | None
    is_plain: bool
    is_own: bool


@dataclass(frozen=True, slots=True)
class Published:
    """The published version of a workflow; `stamp` is the version of the row that says so.

    `plan` is that of the organization, which limits how long a run may go on.
    """

    workflow_id: str
    stamp: str
    slug: str
    project_id: str
    version_id: str
    number: int
    plan: str
    version: Version

    @property
    def limits(self) -> Limits:
        """Return how many runs may go on at once, and for how long."""
        definition = self.version.definition
        return NO_LIMITS if definition is None else definition.limits

    def deadline(self, now: datetime) -> datetime | None:
        """Return until when a run that begins now may go on."""
        return _deadline(self.version, self.plan, now)

    @property
    def is_quick(self) -> bool:
        """Return whether a run may be carried where it is started, before it is written."""
        return self.version.is_plain and self._is_fast

    @property
    def is_own(self) -> bool:
        """Return whether a run may be carried where it is started, in the transaction of that."""
        return self.version.is_own and self._is_fast

    @property
    def _is_fast(self) -> bool:
        return time.monotonic() >= _slow_until.get(self.version_id, 0.0)


_remembered: dict[tuple[str, str, str], Published] = {}


def find(slug: str) -> Published:
    """Return the published version of the active project's workflow.

    Raises WorkflowNotFound, NotPublished; NotRemembered in a direct scope.
    """
    project_id, _ = active_project()
    place = (active_scope().schema, project_id, slug)
    if is_direct():
        found = _remembered.get(place)
        if found is None:
            raise NotRemembered(slug)
        return found
    found = _read(*place)
    if len(_remembered) >= _REMEMBERED:
        _remembered.clear()
    _remembered[place] = found
    return found


def forget(found: Published) -> None:
    """Forget what turned out to have changed."""
    _remembered.pop((active_scope().schema, found.project_id, found.slug), None)


def note_slow(found: Published) -> None:
    """Leave the runs of this version to workers for a while, if it took long several times."""
    strikes = _strikes.get(found.version_id, 0) + 1
    _strikes[found.version_id] = strikes
    if strikes >= _STRIKES:
        note_quick(found)
        _slow_until[found.version_id] = time.monotonic() + _SLOW_SECONDS


def note_quick(found: Published) -> None:
    """Forget what took long before."""
    _strikes.pop(found.version_id, None)


def still(found: Published) -> Statement:
    """Return a row source, from FROM on: one row as long as what was remembered is true."""
    if not is_direct():
        return ALWAYS  # it was read in this transaction
    organization_id = active_scope().organization_id
    return Statement(_STILL, (organization_id, found.plan, found.workflow_id, found.stamp))


@lru_cache(maxsize=512)
def version_of(schema: str, version_id: str) -> Version:
    """Return what is in a version of a tenant; inside its scope."""
    source = WorkflowVersion.objects.get(id=version_id).definition
    definition = parse(source).definition
    is_plain = definition is not None and _is_plain(definition)
    is_own = definition is not None and not is_plain and _is_own(definition)
    return Version(source.get("input_schema") or {}, definition, is_plain, is_own)


def deadline(version_id: str, now: datetime) -> datetime | None:
    """Return until when a run of a version may go on from now; inside a tenant's scope."""
    scope = active_scope()
    with connection.cursor() as cursor:
        cursor.execute(_PLAN, [scope.organization_id])
        (plan,) = cursor.fetchone()
    return _deadline(version_of(scope.schema, version_id), plan, now)


def _deadline(version: Version, plan: str, now: datetime) -> datetime | None:
    """The shorter one counts of what a definition says and what an organization's plan allows."""
    own = None if version.definition is None else version.definition.limits.run_timeout
    allowed = run_duration_for(plan, active_scope().environment)
    limits = [limit for limit in (own and timedelta(seconds=own), allowed) if limit]
    return now + min(limits) if limits else None


def _is_plain(definition: Definition) -> bool:
    """Return whether nothing in a definition waits, calls, is limited, kept or forgotten."""
    return definition.limits == NO_LIMITS and are_plain(definition.all)


def _is_own(definition: Definition) -> bool:
    """Return whether a definition is a few steps of our own rows, besides what is plain."""
    own = sum(step.kind in OWN for step in definition.all)
    is_free = definition.limits == NO_LIMITS and own <= _OWN_STEPS
    return is_free and all(s.kind in PLAIN | OWN and _is_open(s) for s in definition.all)


def are_light(steps: Iterable[Step]) -> bool:
    """Return whether steps besides read and create resources, and lock none for others."""
    return all(
        _is_open(s)
        and (s.kind in PLAIN or (s.kind in _LIGHT and "if_none_exist" not in s.arguments))
        for s in steps
    )


def are_plain(steps: Iterable[Step]) -> bool:
    """Return whether steps are data or events only, and neither kept apart nor forgotten."""
    return all(s.kind in PLAIN and _is_open(s) for s in steps)


def _is_open(step: Step) -> bool:
    return not step.sensitive and step.cache is None


def _read(schema: str, project_id: str, slug: str) -> Published:
    with connection.cursor() as cursor:
        cursor.execute(_FIND, [active_scope().organization_id, project_id, slug])
        row = cursor.fetchone()
    if row is None:
        raise WorkflowNotFound(slug)
    workflow_id, stamp, number, version_id, plan = row
    if number is None:
        raise NotPublished(slug)
    if version_id is None:
        raise VersionNotFound(slug, number)
    version = version_of(schema, version_id)
    return Published(workflow_id, stamp, slug, project_id, version_id, number, plan, version)
