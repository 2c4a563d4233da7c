"""The small tools with which definitions are read: each notes what is wrong and goes on. Pure."""

import difflib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from workflows.definition import Json, Problem

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_ISO_DURATION: Final = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MAX_DIGITS: Final = 12
MOMENT_HINT: Final = "Use an ISO 8601 time with its zone, such as 2026-03-01T08:00:00Z."
DURATION_HINT: Final = "Use a duration such as 500ms, 30s, 5m, 2h, 3d or PT5M."


def parse_duration(text: str) -> timedelta | None:
    """Return the duration that `30s`, `1h30m`, `250ms` or `PT5M` means; None for other text."""
    text = text.strip()
    if any(len(digits) > _MAX_DIGITS for digits in re.findall(r"\d+", text)):
        return None
    if text.startswith("P"):
        found = _ISO_DURATION.fullmatch(text)
        if found is None or not any(found.groups()):
            return None
        days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
        return _span(days * 86400 + hours * 3600 + minutes * 60 + seconds)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return _span(sum(float(number) * _UNITS[unit] for number, unit in parts))


def parse_moment(text: str) -> datetime | None:
    """Return the time that ISO 8601 text with a zone means; None for other text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _span(seconds: float) -> timedelta | None:
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        return None


def nearest(word: str, known: Sequence[str]) -> str | None:
    """Return the known word that a misspelled one probably means."""
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None


class Reader:
    """Reads members of JSON objects and notes problems by step and field."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def note(self, step: str | None, at: str, message: str, suggestion: str | None = None) -> None:
        """Note an error."""
        self.problems.append(Problem(step, at, message, suggestion))

    def members(
        self, step: str | None, at: str, source: Mapping[str, Any], known: tuple[str, ...]
    ) -> None:
        """Note members that don't exist."""
        for name in source:
            if name not in known:
                place = f"{at}.{name}" if at else str(name)
                self.note(step, place, f"There is no `{name}` here.", nearest(str(name), known))

    def text(
        self, step: str | None, source: Mapping[str, Any], name: str, *, required: bool = False
    ) -> str:
        """Return a member that is text, empty when it is not there."""
        value = source.get(name)
        if value is None and not required:
            return ""
        if not isinstance(value, str) or (required and not value):
            self.note(step, name, "This is text." if value is not None else "Missing.")
            return ""
        return value

    def mapping(self, step: str | None, source: Mapping[str, Any], name: str) -> Json:
        """Return a member that is an object, empty when it is not there."""
        value = source.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.note(step, name, "This is an object.")
            return {}
        return dict(value)

    def flag(self, step: str | None, source: Mapping[str, Any], name: str, at: str = "") -> bool:
        """Return a member that is true or false, false when it is not there."""
        value = source.get(name, False)
        if not isinstance(value, bool):
            self.note(step, f"{at}{name}", "This is true or false.")
            return False
        return value

    def number(
        self,
        step: str | None,
        source: Mapping[str, Any],
        name: str,
        default: float,
        bounds: tuple[float, float],
        at: str,
        *,
        whole: bool = False,
    ) -> float:
        """Return a member that is a number within bounds."""
        value = source.get(name, default)
        kinds = int if whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds):
            self.note(step, f"{at}{name}", f"This is a {'whole ' if whole else ''}number.")
            return default
        least, most = bounds
        if not least <= value <= most:
            self.note(step, f"{at}{name}", f"Use a number from {least:g} to {most:g}.")
            return default
        return float(value)

    def seconds(
        self, step: str | None, source: Mapping[str, Any], name: str, at: str = ""
    ) -> float | None:
        """Return a member that is a duration longer than nothing, None when it is not there."""
        value = source.get(name)
        if value is None:
            return None
        found = parse_duration(value) if isinstance(value, str) else None
        if found is None or found <= timedelta(0):
            self.note(step, f"{at}{name}", DURATION_HINT)
            return None
        return found.total_seconds()
