"""Secrets shown once: sealed while they wait in the session for the page that shows them."""

import json

from healthcloud.errors import InternalError
from healthcloud.secrets import open_sealed, seal
from studio.page import Page


def hand_over(page: Page, slot: str, **shown: str) -> None:
    """Keep what the next page of this environment may show, readable with its data key only."""
    sealed = seal(page.scope, json.dumps(shown)).decode("ascii")
    page.request.session[slot] = {"environment_id": page.scope.environment_id, "sealed": sealed}


def take(page: Page, slot: str) -> dict[str, str] | None:
    """Return what was handed over, this once; None for nothing, or for another environment's."""
    kept = page.request.session.pop(slot, None)
    if not isinstance(kept, dict) or kept.get("environment_id") != page.scope.environment_id:
        return None
    try:
        shown: dict[str, str] = json.loads(open_sealed(page.scope, str(kept["sealed"]).encode()))
    except InternalError:  # the platform's keys changed in between: the secret can be rotated
        return None
    return shown
