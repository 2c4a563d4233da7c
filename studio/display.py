"""How states look: the tone and icon of each status word, and durations for people."""

from datetime import datetime

_WORDS: dict[str, str] = {
    "good": "active succeeded completed success ok delivered ready approved published connected"
    " enabled final granted installed accepted done",
    "bad": "failed failure error critical offline rejected denied dead timed_out revoked"
    " entered-in-error expired disabled lost",
    "warn": "degraded warning waiting paused retrying attention draft preliminary"
    " requires_action compensating high",
    "info": "running queued pending validating provisioning delivering in_progress info busy"
    " open claimed leased scheduled",
}
TONES = {tone: frozenset(words.split()) for tone, words in _WORDS.items()}
ICONS: dict[str, str] = {
    "good": "check",
    "bad": "x",
    "warn": "pause",
    "info": "loader-circle",
    "idle": "minus",
}
LIVE = frozenset({"running", "queued", "pending", "validating", "provisioning", "delivering"})
KIND_ICONS: dict[str, tuple[str, str]] = {
    "agent": ("bot", "accent"),
    "connector": ("plug", "info"),
    "model": ("sparkles", "warn"),
    "dataset": ("database", "good"),
    "app": ("layout-grid", "idle"),
}
STEP_ICONS: dict[str, tuple[str, str]] = {
    "agent": ("bot", "accent"),
    "model": ("sparkles", "accent"),
    "connector": ("plug", "info"),
    "http_request": ("globe", "info"),
    "fhir_read": ("file-text", "good"),
    "fhir_search": ("search", "good"),
    "fhir_create": ("file-json", "good"),
    "fhir_update": ("file-json", "good"),
    "fhir_patch": ("file-json", "good"),
    "fhir_transaction": ("file-json", "good"),
    "parallel": ("split", "info"),
    "map": ("repeat", "info"),
    "loop": ("rotate-ccw", "info"),
    "fail": ("circle-alert", "bad"),
    "stop": ("circle-stop", "idle"),
    "transform": ("braces", "idle"),
    "decision": ("split", "warn"),
    "approval": ("hand", "warn"),
    "wait": ("timer", "warn"),
    "emit": ("radio", "info"),
    "workflow": ("workflow", "accent"),
}


def tone_of(status: object) -> str:
    """Return the tone of a status word: good, bad, warn, info or idle."""
    word = str(status).lower()
    return next((tone for tone, words in TONES.items() if word in words), "idle")


def label_of(status: object) -> str:
    """Return a status word as people read it: `timed_out` becomes `Timed out`."""
    text = str(status).replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]


def duration_between(start: datetime | None, end: datetime | None) -> float | None:
    """Return milliseconds between two moments, None while one is missing."""
    if start is None or end is None:
        return None
    return max((end - start).total_seconds() * 1000, 0.0)


def format_milliseconds(value: float | None) -> str:
    """Return `850 ms`, `2.4 s`, `3 min 20 s` or `2 h 5 min`; an en dash for None."""
    if value is None:
        return "–"
    if value < 1000:
        return f"{value:.0f} ms"
    seconds = value / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"
