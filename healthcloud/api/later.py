"""Answers that come later: a view says what its answer waits for, and no thread waits with it.

The server's bridge puts a list into the environment of a request. A view may add one `Later` to
it and answer what there is to say now; the bridge keeps that answer back, waits in the event loop
and asks again in a thread of the pool. Elsewhere, as in tests, views wait by themselves.
"""

from typing import Any, Final, Protocol

VARIABLE: Final = "healthcloud.later"  # no header's name in an environment looks like this


class Later(Protocol):
    """What an answer waits for."""

    async def wait(self) -> None:
        """Return when it is worth asking."""
        ...

    def answer(self) -> tuple[int, bytes] | None:
        """Return status and body, None for not yet; called in a thread, without a scope."""
        ...

    def close(self) -> None:
        """Wait no more."""
        ...


def postpone(environ: dict[str, Any], later: Later) -> bool:
    """Let the answer to a request wait; False where the server can't, and the caller must."""
    waiting = environ.get(VARIABLE)
    if waiting is None:
        return False
    waiting.append(later)
    return True
