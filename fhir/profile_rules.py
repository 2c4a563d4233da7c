"""Whether a project has its writes checked against profiles, and how.

https://hl7.org/fhir/R4/validation.html -- A project says so in its settings. The scope of a request
carries what it says; work that was queued looks it up, and knows a change within seconds. Where
nothing is asked, a write asks nothing.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Literal

import orjson

from fhir.checking import claimed_issues, fits_one_of
from fhir.documents import JsonObject, ParsedResource
from fhir.errors import InvalidResource
from fhir.sql import fetch
from fhir.validation import Issue, outcome
from healthcloud.errors import ServiceUnavailable
from healthcloud.tenancy.scope import active_scope, is_direct

Mode = Literal["claimed", "required"]

_SETTING: Final = "SELECT fhir_profiles::text FROM public.organizations_project WHERE id = %s"
_REMEMBERED_FOR: Final = 5.0  # seconds
_OFF: Final = frozenset({"", "{}", "null"})
_remembered: dict[str, tuple[float, str]] = {}


class NeedsTransaction(ServiceUnavailable):
    """The write looks profiles up first, so one round trip is not enough: it goes the whole way."""

    def __init__(self) -> None:
        super().__init__("Writes of this project are checked against profiles; send it again.")


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """What a project asks of its resources.

    `claimed`: a resource conforms to the profiles that it claims and that are known here;
    `required`: they must be known, too. In both, a resource of a type in `required` conforms to
    one of the profiles named there.
    """

    mode: Mode
    required: Mapping[str, tuple[str, ...]]


def active_rules() -> ProfileRules | None:
    """Return the rules of the project at hand, None where it asks for nothing."""
    scope = active_scope()
    setting = scope.profiles
    if setting is None:
        setting = _looked_up(scope.project_id)
    return None if setting in _OFF else read_rules(setting)


def refuse_nonconforming(parsed: ParsedResource) -> None:
    """Raise InvalidResource where the project asks for profiles and the resource has errors."""
    rules = active_rules()
    if rules is None:
        return
    if is_direct():
        raise NeedsTransaction
    issues = list(_issues(parsed.data, rules))
    if any(issue.severity in {"error", "fatal"} for issue in issues):
        raise InvalidResource(parsed.resource_type, outcome(issues)["issue"])


def _issues(resource: JsonObject, rules: ProfileRules) -> Iterator[Issue]:
    issues = claimed_issues(resource, must_be_known=rules.mode == "required")
    wanted = rules.required.get(str(resource["resourceType"]), ())
    if wanted:
        issues += fits_one_of(resource, wanted)
    # What was not evaluated keeps no resource away; errors come first, as they are the reason.
    yield from sorted(dict.fromkeys(issues), key=lambda issue: issue.severity != "error")


@lru_cache(maxsize=256)
def read_rules(setting: str) -> ProfileRules | None:
    """Return the rules that a project's setting spells, None for none."""
    found: dict[str, Any] = orjson.loads(setting)
    mode = found.get("mode")
    if mode not in {"claimed", "required"}:
        return None
    required = {kind: tuple(urls) for kind, urls in found.get("required", {}).items() if urls}
    return ProfileRules(mode, MappingProxyType(required))


def _looked_up(project_id: str | None) -> str:
    """Return the setting of a project, read at most every five seconds."""
    if project_id is None:
        return ""
    known = _remembered.get(project_id)
    if known is not None and known[0] > time.monotonic():
        return known[1]
    if is_direct():
        raise NeedsTransaction
    rows = fetch(_SETTING, (project_id,))
    raw = rows[0][0] if rows else ""
    setting = raw.decode() if isinstance(raw, bytes) else str(raw or "")
    if len(_remembered) > 10_000:
        _remembered.clear()
    _remembered[project_id] = (time.monotonic() + _REMEMBERED_FOR, setting)
    return setting
