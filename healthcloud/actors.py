"""Who does a thing: passed to every service, never ambient."""

from dataclasses import dataclass
from typing import Literal

ActorKind = Literal["user", "api_key", "agent", "workflow", "system"]


@dataclass(frozen=True, slots=True)
class Actor:
    """The doer of an action, as audit, events and run records name it.

    `id` is a prefixed id (`usr_…`, `key_…`, `dep_…`, `run_…`) or `system`; `label` is for people.
    """

    kind: ActorKind
    id: str
    label: str

    def as_dict(self) -> dict[str, str]:
        """Return the JSON form used in events and run records."""
        return {"kind": self.kind, "id": self.id, "label": self.label}


SYSTEM = Actor(kind="system", id="system", label="HealthCloud")
