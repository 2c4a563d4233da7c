"""Children that end with their parent, however it ends (Linux only)."""

import ctypes
import signal
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def ends_with_parent(stop_signal: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """Return what a child runs before exec: the kernel then signals it when its parent dies."""
    return partial(_tie, stop_signal)


def _tie(stop_signal: signal.Signals) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(stop_signal))
