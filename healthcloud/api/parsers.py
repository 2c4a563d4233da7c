"""Reads JSON bodies strictly: bounded in size and depth, no duplicate keys, no NaN."""

import json
from collections.abc import Mapping
from typing import IO, Final, NoReturn

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.parsers import BaseParser

from healthcloud.errors import BadRequest, PayloadTooLarge

MAXIMUM_DEPTH: Final = 64
_DEFAULT_MAXIMUM_BYTES: Final = 10 * 1024 * 1024


def maximum_body_bytes() -> int:
    """Return the most bytes that a body may have."""
    return int(getattr(settings, "MAXIMUM_BODY_BYTES", _DEFAULT_MAXIMUM_BYTES))


def _refuse_constant(name: str) -> NoReturn:
    raise BadRequest(f"The body is not valid JSON: `{name}` is not a JSON number.")


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BadRequest(
                    f"The body names the member `{name}` twice; say it once.", param=name
                )
            seen.add(name)
    return members


def _check_tree(root: object) -> None:
    """Refuse trees that are too deep and text that a database can't hold."""
    level: list[object] = [root]
    for _ in range(MAXIMUM_DEPTH + 1):
        following: list[object] = []
        for node in level:
            if isinstance(node, str):
                _check_text(node)
            elif isinstance(node, dict):
                following.extend(node.keys())
                following.extend(node.values())
            elif isinstance(node, list):
                following.extend(node)
        if not following:
            return
        level = following
    raise BadRequest(f"The body is nested deeper than {MAXIMUM_DEPTH} levels.")


def _check_text(text: str) -> None:
    if text.isascii():
        if "\x00" in text:
            raise BadRequest("The body holds the character U+0000, which text may not.")
        return
    try:
        encoded = text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest("The body holds half of a surrogate pair, which is no text.") from error
    if b"\x00" in encoded:
        raise BadRequest("The body holds the character U+0000, which text may not.")


def parse_json(body: bytes) -> object:
    """Return the value of a JSON document.

    Raises BadRequest for malformed JSON, duplicate members, depth, NaN and Infinity, and
    PayloadTooLarge beyond the stated size.
    """
    if len(body) > maximum_body_bytes():
        raise PayloadTooLarge(f"The body is larger than {maximum_body_bytes()} bytes.")
    try:
        tree = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_unique_members,
            parse_constant=_refuse_constant,
        )
    except UnicodeDecodeError as error:
        raise BadRequest("The body is not valid UTF-8.") from error
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except RecursionError as error:
        raise BadRequest(f"The body is nested deeper than {MAXIMUM_DEPTH} levels.") from error
    except ValueError as error:
        raise BadRequest("The body holds a number with too many digits.") from error
    _check_tree(tree)
    return tree


class JSONParser(BaseParser):
    """Read a JSON object, or refuse it with a message that says where it breaks."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, object] | None = None,
    ) -> dict[str, object]:
        """Return the members of the body."""
        try:
            body = stream.read()
        except RequestDataTooBig as error:
            raise PayloadTooLarge(
                f"The body is larger than {maximum_body_bytes()} bytes."
            ) from error
        tree = parse_json(body)
        if not isinstance(tree, dict):
            raise BadRequest("The body must be a JSON object, such as `{}`.")
        return tree
