"""Taking turns at one receiver: how many requests of a process go to it at once.

A receiver that needs fifteen seconds would else take every thread of a process that delivers to a
hundred others. So a receiver gets one request until it has answered, and again once it is slow, and
slow ones share half of the threads, and leave some to the new ones. What has no room now gets a
time at which it probably has.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

AT_ONCE: Final = 4
SLOW_AT_ONCE: Final = 1
SLOW_SECONDS: Final = 2.0
_SHORTEST_WAIT: Final = 0.05
_LONGEST_WAIT: Final = 60.0
_FIRST_GUESS: Final = 0.05
_KEPT: Final = 2000  # receivers that are remembered


@dataclass(slots=True)
class _Receiver:
    begun: list[float] = field(default_factory=list)  # when what is under way began, in order
    usual: float | None = None  # seconds that its answers take, lately
    following: float = 0.0  # when the next one that waits may try

    def expected(self, moment: float) -> float:
        """Return how many seconds its answers will probably take."""
        since = moment - self.begun[0] if self.begun else 0.0
        return max(self.usual if self.usual is not None else _FIRST_GUESS, since)

    def is_slow(self, moment: float) -> bool:
        """Return whether it takes long, lately or now."""
        overdue = bool(self.begun) and moment - self.begun[0] > SLOW_SECONDS
        return overdue or (self.usual is not None and self.usual > SLOW_SECONDS)

    def is_quick(self, moment: float) -> bool:
        """Return whether it has answered, and neither lately nor now takes long."""
        return self.usual is not None and not self.is_slow(moment)


class Turns:
    """Knows what is under way to each receiver, and how fast each answers."""

    def __init__(self, threads: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._slow_share = max(1, threads // 2)
        self._share = max(1, threads - threads // 4)  # of slow and new ones together
        self._receivers: dict[str, _Receiver] = {}
        self._busy: dict[str, _Receiver] = {}
        self._lock = threading.Lock()

    def take(self, name: str) -> float:
        """Take a turn and return 0, or return the seconds after which to ask again."""
        with self._lock:
            moment = self._clock()
            receiver = self._receivers.setdefault(name, _Receiver())
            quick = receiver.is_quick(moment)
            room = AT_ONCE if quick else SLOW_AT_ONCE
            if len(receiver.begun) < room and (quick or self._has_room(receiver, moment)):
                receiver.begun.append(moment)
                self._busy[name] = receiver
                return 0.0
            step = receiver.expected(moment) / room
            receiver.following = max(receiver.following, moment + _SHORTEST_WAIT) + step
            return min(receiver.following - moment, _LONGEST_WAIT)

    def give_back(self, name: str, seconds: float) -> None:
        """End a turn that took so long."""
        with self._lock:
            receiver = self._receivers[name]
            began = self._clock() - seconds
            receiver.begun.remove(min(receiver.begun, key=lambda other: abs(other - began)))
            if not receiver.begun:
                self._busy.pop(name, None)
            usual = receiver.usual if receiver.usual is not None else seconds
            receiver.usual = usual + (seconds - usual) / 3
            if len(self._receivers) > _KEPT:
                for other in [n for n, r in self._receivers.items() if not r.begun][:_KEPT]:
                    del self._receivers[other]

    def _has_room(self, receiver: _Receiver, moment: float) -> bool:
        """Return whether there is a thread for a receiver that is slow or not known."""
        doubtful = [r for r in self._busy.values() if not r.is_quick(moment)]
        slow = sum(len(r.begun) for r in doubtful if r.is_slow(moment))
        if receiver.is_slow(moment) and slow >= self._slow_share:
            return False
        return sum(len(r.begun) for r in doubtful) < self._share
