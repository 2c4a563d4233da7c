"""The sections of Studio, as the sidebar, the command palette and the keyboard know them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One place to go: `key` is what a page declares, `shortcut` follows the letter g."""

    key: str
    label: str
    icon: str
    route: str
    shortcut: str


@dataclass(frozen=True, slots=True)
class Group:
    """Sections that belong together, under a title (none for the first group)."""

    title: str
    sections: tuple[Section, ...]


GROUPS: tuple[Group, ...] = (
    Group("", (Section("home", "Home", "house", "home", "h"),)),
    Group(
        "Build",
        (
            Section("catalog", "Catalog", "blocks", "catalog", "c"),
            Section("deployments", "Deployments", "rocket", "deployments", "d"),
            Section("workflows", "Workflows", "workflow", "workflows", "w"),
        ),
    ),
    Group(
        "Operate",
        (
            Section("runs", "Runs", "play", "runs", "r"),
            Section("tasks", "Tasks", "inbox", "tasks", "t"),
            Section("events", "Events", "activity", "events", "e"),
            Section("webhooks", "Webhooks", "webhook", "webhooks", "b"),
        ),
    ),
    Group("Data", (Section("records", "Records", "heart-pulse", "records", "p"),)),
)

SETTINGS = Section("settings", "Settings", "settings", "settings", "s")
