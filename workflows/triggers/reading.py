"""Read the triggers of a definition. Pure; whether a search or event exists is checked later."""

import re
from collections.abc import Mapping
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from workflows.reading import Reader, nearest
from workflows.triggers.cron import CronError, parse_cron
from workflows.triggers.kinds import CHANGES, MISSED, TRIGGERS

Json = dict[str, Any]
_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PATTERN: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*(\.\*)?")


def read_trigger(reader: Reader, at: str, value: object) -> Json | None:
    """Return a trigger with all its members filled in, None when it has problems."""
    if not isinstance(value, Mapping):
        reader.note(None, at, "A trigger is an object with its kind.")
        return None
    kind = TRIGGERS.get(str(value.get("kind")))
    if kind is None:
        message = f"Use one of {', '.join(TRIGGERS)}."
        reader.note(None, f"{at}.kind", message, nearest(str(value.get("kind")), list(TRIGGERS)))
        return None
    before = len(reader.problems)
    reader.members(None, at, value, ("kind", *(member.name for member in kind.members)))
    for member in kind.members:
        _check_type(reader, f"{at}.{member.name}", member.schema, value.get(member.name))
        if member.required and value.get(member.name) in (None, ""):
            reader.note(None, f"{at}.{member.name}", "Missing.")
    found = dict(value)
    if len(reader.problems) == before and (check := _CHECKS.get(kind.name)):
        check(reader, at, found)
    return found if len(reader.problems) == before else None


def zone_of(name: str) -> ZoneInfo | None:
    """Return a time zone by name, None for one that does not exist."""
    return ZoneInfo(name) if name in available_timezones() else None


def _check_type(reader: Reader, at: str, schema: Json, value: object) -> None:
    kinds = {"string": (str, "text"), "object": (Mapping, "an object"), "array": (list, "a list")}
    wanted = kinds.get(str(schema.get("type")))
    if value is None:
        return
    if wanted is not None and not isinstance(value, wanted[0]):
        reader.note(None, at, f"This is {wanted[1]}.")
    elif at.endswith(".id") and not _ID.fullmatch(str(value)):
        reader.note(None, at, "Use lower-case letters, digits and `_`, at most 63.")


def _schedule(reader: Reader, at: str, trigger: Json) -> None:
    try:
        parse_cron(trigger["cron"])
    except CronError as error:
        reader.note(None, f"{at}.cron", str(error))
    zone = trigger.setdefault("timezone", "UTC")
    if zone_of(zone) is None:
        known = sorted(available_timezones())
        message = f"There is no time zone `{zone[:60]}`."
        reader.note(None, f"{at}.timezone", message, nearest(zone, known))
    if trigger.setdefault("missed", MISSED[0]) not in MISSED:
        reader.note(None, f"{at}.missed", f"Use one of {', '.join(MISSED)}.")


def _event(reader: Reader, at: str, trigger: Json) -> None:
    if not _PATTERN.fullmatch(trigger["type"]):
        reader.note(None, f"{at}.type", "Use an event type, or a pattern such as care_gap.*.")


def _fhir(reader: Reader, at: str, trigger: Json) -> None:
    on = trigger.setdefault("on", ["create", "update"])
    if not on or any(change not in CHANGES for change in on):
        reader.note(None, f"{at}.on", f"Use some of {', '.join(CHANGES)}.")


_CHECKS: Final = {"schedule": _schedule, "event": _event, "fhir": _fhir}
