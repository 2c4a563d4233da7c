"""Folds text for string searches: case and accents do not count. /search.html#string"""

import unicodedata

_EXTRA = str.maketrans(
    {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "đ": "d", "ð": "d", "ł": "l", "þ": "th", "ı": "i"}
)


def fold(text: str) -> str:
    """Answer text without case, accents and repeated white space (`Jörg  Ø.` → `jorg o.`)."""
    if text.isascii():
        return " ".join(text.lower().split())
    # Decomposed twice: folding case can compose anew, and some capitals are compositions.
    plain = unicodedata.normalize("NFKD", text).casefold()
    decomposed = unicodedata.normalize("NFKD", plain)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(bare.translate(_EXTRA).split())
