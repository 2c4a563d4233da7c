"""Tags and filters of Studio's templates: icons, times, JSON, links within the page's project."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, cast

from django import template
from django.templatetags.static import static
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from studio import display

if TYPE_CHECKING:
    from studio.page import Page

register = template.Library()

JSON_TOKEN = re.compile(
    r'(?P<k>"(?:\\.|[^"\\])*")(?=\s*:)|(?P<s>"(?:\\.|[^"\\])*")'
    r"|(?P<n>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|(?P<a>true|false|null)"
)


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """Return one icon of the vendored sprite; decorative, so hidden from assistive technology."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true"><use href="{}#{}"></use></svg>',
        classes,
        static("vendor/lucide/sprite.svg"),
        name,
    )


@register.simple_tag(takes_context=True)
def page_url(context: Mapping[str, object], name: str, *args: object) -> str:
    """Return the address of a page in the current organization, environment and project."""
    return cast("Page", context["page"]).url(name, *args)


@register.simple_tag
def moment(value: datetime | date | str | None, style: str = "relative") -> SafeString:
    """Return a `<time>`; the browser shows it local (`relative` or `full`), UTC on hover."""
    if value is None or value == "":
        return SafeString("–")
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        return format_html(
            '<time datetime="{}">{}</time>', value.isoformat(), f"{value:%b %-d, %Y}"
        )
    stamp = value.astimezone(UTC)
    text = f"{stamp:%b %-d, %Y, %H:%M} UTC"
    machine = stamp.isoformat().replace("+00:00", "Z")
    return format_html(
        '<time datetime="{}" data-time="{}" title="{}">{}</time>', machine, style, text, text
    )


@register.filter
def pretty_json(value: object) -> SafeString:
    """Return indented, highlighted JSON; every character of the value is escaped."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    parts: list[str] = []
    at = 0
    for match in JSON_TOKEN.finditer(text):
        parts.append(escape(text[at : match.start()]))
        parts.append(f'<span class="{match.lastgroup}">{escape(match.group())}</span>')
        at = match.end()
    parts.append(escape(text[at:]))
    return mark_safe("".join(parts))  # noqa: S308 - every part is escaped above


@register.filter
def plain_json(value: object) -> str:
    """Return compact JSON text, for copying and for curl."""
    return json.dumps(value, ensure_ascii=False, default=str)


@register.filter
def unwrap_lines(text: str) -> str:
    """Join hard-wrapped lines, as text in YAML files has them; empty lines part paragraphs."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()))


@register.filter
def tone(status: object) -> str:
    """Return the tone class of a status word."""
    return display.tone_of(status)


@register.filter
def tone_icon(status: object) -> str:
    """Return the icon that goes with a status word."""
    return display.ICONS[display.tone_of(status)]


@register.filter
def is_live(status: object) -> bool:
    """Say whether a status is one that moves on by itself."""
    return str(status).lower() in display.LIVE


@register.filter
def label(status: object) -> str:
    """Return a status word as people read it."""
    return display.label_of(status)


@register.filter
def milliseconds(value: float | None) -> str:
    """Return a duration for people."""
    return display.format_milliseconds(value)


@register.filter
def initials(name: str) -> str:
    """Return one or two letters that stand for a name."""
    words = [word for word in re.split(r"[\s@._-]+", str(name)) if word]
    return "".join(word[0] for word in words[:2]).upper() or "?"


@register.filter
def kind_icon(kind: str) -> str:
    """Return the icon of an asset kind."""
    return display.KIND_ICONS.get(str(kind), ("package", "idle"))[0]


@register.filter
def kind_tone(kind: str) -> str:
    """Return the tone of an asset kind."""
    return display.KIND_ICONS.get(str(kind), ("package", "idle"))[1]


@register.filter
def step_icon(kind: str) -> str:
    """Return the icon of a workflow step kind."""
    return display.STEP_ICONS.get(str(kind), ("circle-dot", "idle"))[0]


@register.filter
def step_tone(kind: str) -> str:
    """Return the tone of a workflow step kind."""
    return display.STEP_ICONS.get(str(kind), ("circle-dot", "idle"))[1]


@register.filter
def lookup(mapping: Mapping[str, object], key: str) -> object:
    """Return a mapping's value by a key that a variable names."""
    return mapping.get(key)
