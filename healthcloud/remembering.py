"""Remembering what was made of short texts. Pure."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

Made = TypeVar("Made")
FromText = Callable[[str], Made]


def of_short_texts(
    maxsize: int, *, longest: int = 256
) -> Callable[[FromText[Made]], FromText[Made]]:
    """Remember what a function makes of texts that have at most `longest` characters.

    What is remembered stays small, whatever is sent.
    """

    def decorate(make: FromText[Made]) -> FromText[Made]:
        remembered = lru_cache(maxsize=maxsize)(make)

        @wraps(make)
        def made(text: str) -> Made:
            return remembered(text) if len(text) <= longest else make(text)

        made.cache_info = remembered.cache_info  # type: ignore[attr-defined]  # as lru_cache has it
        return made

    return decorate
