"""Stable 64-bit hashes of what is searched for: tokens, references, units.

All are signed, as PostgreSQL's `bigint` is. A search parameter has a salt; an indexed token is
the hash of its value XOR the salt of its parameter, so that a reference's token can be computed
in SQL from the `self` hash of its target.
"""

from functools import lru_cache
from hashlib import blake2b
from typing import Final

from healthcloud.remembering import of_short_texts


@of_short_texts(maxsize=65536)
def hash64(value: str) -> int:
    """Return the signed 64-bit hash of a text."""
    digest = blake2b(value.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


PRESENT: Final = hash64("present")
"""The value of every parameter that has one."""


@lru_cache(maxsize=16384)
def param_salt(resource_type: str, code: str) -> int:
    """Return the number that makes a token belong to one parameter of one type."""
    return hash64(f"param:{resource_type}.{code}")


def self_hash(resource_type: str, rid: str) -> int:
    """Return the hash by which references find a resource."""
    return hash64(f"{resource_type}/{rid}")


def token_exact(system: str, code: str) -> int:
    """Return the hash of `system|code`; an empty system stands for `|code`."""
    return hash64(f"t:{system}|{code.lower()}")


def token_code(code: str) -> int:
    """Return the hash of a code in whatever system."""
    return hash64(f"c:{code.lower()}")


def token_system(system: str) -> int:
    """Return the hash of `system|`: any code of the system."""
    return hash64(f"s:{system}")


def identifier_exact(system: str, value: str) -> int:
    """Return the hash of the identifier inside a reference, for `:identifier`."""
    return hash64(f"i:{system}|{value.lower()}")


def identifier_value(value: str) -> int:
    """Return the hash of a reference's identifier in whatever system."""
    return hash64(f"j:{value.lower()}")


def of_type(system: str, code: str, value: str) -> int:
    """Return the hash of an identifier by its type, for `:of-type`."""
    return hash64(f"o:{system}|{code.lower()}|{value.lower()}")


def uri(value: str) -> int:
    """Return the hash of a URI, which is case-sensitive."""
    return hash64(f"u:{value}")


def unit_exact(system: str, code: str) -> int:
    """Return the hash of a quantity's unit as system and code."""
    return hash64(f"q:{system}|{code}")


def unit_code(code: str) -> int:
    """Return the hash of a quantity's unit code or printed unit."""
    return hash64(f"q:{code}")


def contains(resource_type: str) -> int:
    """Return the hash of a resource that contains one of a type, for `_contained`."""
    return hash64(f"contains:{resource_type}")


def composite(first: int, second: int) -> int:
    """Return the hash of two tokens that occur in the same component."""
    return hash64(f"p:{first}:{second}")
