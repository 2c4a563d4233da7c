"""Access tokens: fetched once for all threads and processes, sealed in the shared cache.

A token is worth its bearer, so it lies in the cache sealed with the tenant's data key. A process
keeps its own copy, so that a warm call asks nobody; a cache that is down costs a fetch, no more.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from django.core.cache import cache

from assets.configuration import digest
from healthcloud.secrets import SecretUnreadable, open_sealed, seal
from healthcloud.tenancy.scope import Scope

logger = logging.getLogger(__name__)

RENEW_AT = 0.9
_LOCK_SECONDS = 20
_POLL_SECONDS = 0.05
_local: dict[str, tuple[str, float]] = {}
_guards: dict[str, threading.Lock] = {}
_guards_guard = threading.Lock()


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of one deployment."""

    scope: Scope
    owner: str

    def get_or_fetch(self, key: str, fetch: Callable[[], tuple[str, float]]) -> str:
        """Return the cached value, or fetch it once and keep it for 90 % of its lifetime."""
        name = self._name(key)
        value = _fresh(name)
        if value is not None:
            return value
        with _guard(name):
            return _fresh(name) or self._shared_or_fetched(name, fetch)

    def forget(self, key: str) -> None:
        """Drop a value here and in the shared cache."""
        name = self._name(key)
        _local.pop(name, None)
        try:
            cache.delete(name)
        except Exception:
            logger.warning("token_cache_unavailable")

    def _name(self, key: str) -> str:
        parts = [self.scope.schema, self.scope.project_id, self.owner, key]
        return f"token:{digest(parts)}"

    def _shared_or_fetched(self, name: str, fetch: Callable[[], tuple[str, float]]) -> str:
        """Take the value that another process fetched, or be the one that fetches."""
        deadline = time.monotonic() + _LOCK_SECONDS
        while time.monotonic() < deadline:
            value = self._shared(name)
            if value is not None:
                return value
            if _lock(name):
                break
            time.sleep(_POLL_SECONDS)
        try:
            value, lifetime = fetch()
            self._keep(name, value, lifetime * RENEW_AT)
        finally:
            _unlock(name)
        return value

    def _shared(self, name: str) -> str | None:
        try:
            kept = cache.get(name)
        except Exception:
            logger.warning("token_cache_unavailable")
            return None
        if not kept:
            return None
        try:
            value = open_sealed(self.scope, kept[0])
        except SecretUnreadable:
            return None
        _local[name] = (value, time.monotonic() + max(0.0, kept[1] - time.time()))
        return value

    def _keep(self, name: str, value: str, seconds: float) -> None:
        if seconds < 1:
            return
        _local[name] = (value, time.monotonic() + seconds)
        try:
            cache.set(name, (seal(self.scope, value), time.time() + seconds), timeout=seconds)
        except Exception:
            logger.warning("token_cache_unavailable")


def _fresh(name: str) -> str | None:
    kept = _local.get(name)
    return kept[0] if kept is not None and kept[1] > time.monotonic() else None


def _guard(name: str) -> threading.Lock:
    with _guards_guard:
        return _guards.setdefault(name, threading.Lock())


def _lock(name: str) -> bool:
    try:
        return bool(cache.add(f"{name}:lock", 1, timeout=_LOCK_SECONDS))
    except Exception:
        return True


def _unlock(name: str) -> None:
    try:
        cache.delete(f"{name}:lock")
    except Exception:
        logger.warning("token_cache_unavailable")
