"""Taking turns at one receiver: how many requests of a process go to it at once.

A receiver that needs fifteen seconds would else take every thread of a process that delivers to a
hundred others. What has no room now gets a time at which it probably has.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

AT_ONCE: Final = 4
SLOW_AT_ONCE: Final = 1
SLOW_SECONDS: Final = 2.0
_SHORTEST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 60.0
_KEPT: Final = 2000  # receivers that are remembered


@dataclass(slots=True)
class _Receiver:
    busy: int = 0
    usual: float = 0.05  # seconds that its answers take, lately
    following: float = 0.0  # when the next one that waits may try


class Turns:
    """Knows what is under way to each receiver, and how fast each answers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._receivers: dict[str, _Receiver] = {}
        self._lock = threading.Lock()

    def take(self, name: str) -> float:
        """Take a turn and return 0, or return the seconds after which to ask again."""
        with self._lock:
            receiver = self._receivers.setdefault(name, _Receiver())
            room = SLOW_AT_ONCE if receiver.usual > SLOW_SECONDS else AT_ONCE
            if receiver.busy < room:
                receiver.busy += 1
                return 0.0
            moment = self._clock()
            step = receiver.usual / room
            receiver.following = max(receiver.following, moment + _SHORTEST_WAIT) + step
            return min(receiver.following - moment, _LONGEST_WAIT)

    def give_back(self, name: str, seconds: float) -> None:
        """End a turn that took so long."""
        with self._lock:
            receiver = self._receivers[name]
            receiver.busy -= 1
            receiver.usual += (seconds - receiver.usual) / 3
            if len(self._receivers) > _KEPT:
                for other in [n for n, r in self._receivers.items() if not r.busy][:_KEPT]:
                    del self._receivers[other]
