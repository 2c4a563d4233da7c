"""Prefixed ids such as `run_06h2…`: 24 characters of base32, ordered by the time they were made."""

import secrets
import time

from django.utils.text import slugify as django_slugify

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base32: no i, l, o, u
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_SHIFTS = range(110, -10, -10)  # 24 characters, two at a time
_RANDOM_BITS = 72


def new_id(prefix: str) -> str:
    """Return a new id: `prefix`, an underscore, 48 bits of milliseconds and 72 random bits."""
    value = (time.time_ns() // 1_000_000) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return f"{prefix}_{''.join([_PAIRS[value >> shift & 1023] for shift in _SHIFTS])}"


def slugify(name: str, *, fallback: str) -> str:
    """Return a URL slug of at most 50 characters for a person's words."""
    return django_slugify(name)[:50].strip("-") or fallback
