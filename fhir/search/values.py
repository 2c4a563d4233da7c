"""The syntax inside a search value: escapes, alternatives, prefixes.

https://hl7.org/fhir/R4/search.html#escaping and #prefix. Pure.
"""

import re
from typing import Final

PREFIXES: Final = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
_PREFIXED: Final = re.compile(rf"({'|'.join(PREFIXES)})(?=[-+.\d])")


def split_unescaped(value: str, separator: str) -> list[str]:
    """Split at separators that no backslash escapes; the parts keep their escapes."""
    if "\\" not in value:
        return value.split(separator)
    parts: list[str] = []
    current: list[str] = []
    escaped = False
    for character in value:
        if character == separator and not escaped:
            parts.append("".join(current))
            current = []
            continue
        current.append(character)
        escaped = character == "\\" and not escaped
    parts.append("".join(current))
    return parts


def unescape(value: str) -> str:
    r"""Return the value without the backslashes of `\,`, `\|`, `\$` and `\\`."""
    return re.sub(r"\\([,|$\\])", r"\1", value) if "\\" in value else value


def escape(text: str) -> str:
    """Return a text as a value that means it, whatever signs are in it."""
    return re.sub(r"([\\,$|])", r"\\\1", text)


def split_prefix(value: str) -> tuple[str, str]:
    """Return the comparison prefix (`eq` when there is none) and the rest of an ordered value."""
    found = _PREFIXED.match(value)
    return (found[1], value[2:]) if found else ("eq", value)
