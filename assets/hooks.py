"""What other rooms do when an asset is installed: registered here, called in the same transaction.

`workflows` may import `assets` but not the other way round, so an asset brings its workflows
through a hook that `workflows` registers.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from assets.sdk import Json
from healthcloud.actors import Actor


@dataclass(frozen=True, slots=True)
class Installed:
    """An asset that was just installed or upgraded, and the workflow definitions it brings."""

    installation_id: str
    asset_id: str
    version: str
    workflows: Sequence[Json]
    upgraded: bool = False


class InstalledHook(Protocol):
    """Called inside the installation's tenant scope and transaction; an error undoes both."""

    def __call__(self, *, installed: Installed, actor: Actor, now: datetime) -> None: ...


_on_installed: list[InstalledHook] = []


def on_installed(hook: InstalledHook) -> InstalledHook:
    """Register a hook, once, from `AppConfig.ready`; usable as a decorator."""
    if hook not in _on_installed:
        _on_installed.append(hook)
    return hook


def installed_hooks() -> Sequence[Callable[..., None]]:
    """Return the registered hooks in order."""
    return tuple(_on_installed)
