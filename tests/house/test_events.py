"""Every event type is documented; what the platform emits is in the catalog."""

import re
from pathlib import Path

from healthcloud.events.catalog import CATALOG, CUSTOM_PREFIX, EventType

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "events.md"
INTRODUCTION = """# Events

Every event is an object with `id`, `sequence`, `type`, `source`, `severity`, `created_at`,
`payload`, `actor`, `request_id`, `causation_id` and the scope members. Payloads hold ids and
facts, never clinical content. Sequence numbers rise without gaps in commit order within an
environment. Types that begin with `custom.` come from the `emit` steps of workflows.
`GET /v1/event-types` answers this list.

| type | severity | when | payload |
|---|---|---|---|
"""


def row(type_: EventType) -> str:
    members = [f"`{name}`" for name in type_.required]
    members += [f"`{name}`?" for name in type_.optional]
    note = " (only to those whose filter names it)" if type_.on_request else ""
    return f"| `{type_.name}` | {type_.severity} | {type_.summary}{note} | {' '.join(members)} |\n"


def test_the_document_lists_every_event_type() -> None:
    expected = INTRODUCTION + "".join(row(type_) for type_ in CATALOG.values())
    if DOCUMENT.read_text(encoding="utf-8") != expected:
        draft = ROOT / "var" / "events.md"
        draft.parent.mkdir(exist_ok=True)
        draft.write_text(expected, encoding="utf-8")
        raise AssertionError("docs/events.md is behind the catalog: copy var/events.md over it")


def test_every_type_that_code_names_is_in_the_catalog() -> None:
    named = re.compile(r'(?:type|event|past)="([a-z_]+(?:\.[a-z_]+)+)"')
    unknown = {
        f"{path.relative_to(ROOT)}: {type_}"
        for app in ("healthcloud", "fhir", "assets", "workflows")
        for path in (ROOT / app).rglob("*.py")
        for type_ in named.findall(path.read_text(encoding="utf-8"))
        if type_ not in CATALOG and not type_.startswith(CUSTOM_PREFIX)
    }
    assert unknown == set()
