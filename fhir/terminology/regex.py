"""Regular expressions of value sets, held to those that can't run away."""

import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from re import _constants as constants  # type: ignore[attr-defined]  # typeshed leaves it out
from re import _parser as parser  # type: ignore[attr-defined]  # as above
from typing import Any, Final

from fhir.terminology.errors import NotComputable

_LONGEST: Final = 200
_MOST_REPEATS: Final = 3
# How long a text may be by the open repeats of the expression, whose number is the exponent of
# the work: at most a tenth of a millisecond or so for a text.
_SUBJECT: Final = (4000, 4000, 400, 60)
_REPEATS: Final = (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT)
_REFUSED: Final = (
    constants.GROUPREF,
    constants.GROUPREF_EXISTS,
    constants.ASSERT,
    constants.ASSERT_NOT,
)


@dataclass(frozen=True, slots=True)
class SafePattern:
    """A compiled expression, and the longest text that it may be tried on."""

    compiled: re.Pattern[str]
    longest: int


@lru_cache(maxsize=256)
def compile_safe(pattern: str) -> SafePattern:
    """Return the compiled expression; raise NotComputable for one that may take very long.

    Repeats within repeats, more than three open repeats, look-around and back-references are
    refused, so that the work is bounded by a small power of the length of a code.
    """
    if len(pattern) > _LONGEST:
        raise NotComputable(f"A regex filter has at most {_LONGEST} characters.", param="filter")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parsed = parser.parse(pattern)
            compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise NotComputable(
            f"`{pattern}` is no regular expression: {error}.", param="filter"
        ) from None
    count = _repeats(parsed, inside=False)
    if count > _MOST_REPEATS:
        raise _refusal(pattern)
    return SafePattern(compiled, _SUBJECT[count])


def matches(pattern: SafePattern, text: str) -> bool:
    """Tell whether the expression matches the whole text; raise NotComputable for a long one."""
    if len(text) > pattern.longest:
        raise NotComputable(
            f"`{pattern.compiled.pattern}` can't be tried on a text of {len(text)} characters: an"
            " expression with fewer open repeats can.",
            param="filter",
        )
    return pattern.compiled.fullmatch(text) is not None


def _repeats(items: Any, *, inside: bool) -> int:  # noqa: ANN401  # the parser's own trees
    count = 0
    for operator, argument in items:
        if operator in _REFUSED:
            raise _refusal("look-around or a back-reference")
        if operator in _REPEATS:
            low, high, inner = argument
            is_open = high == constants.MAXREPEAT or high - low > 1
            if is_open and inside:
                raise _refusal("a repeat within a repeat")
            count += is_open + _repeats(inner, inside=inside or high > 1)
        else:
            count += sum(_repeats(part, inside=inside) for part in _nested(argument))
    return count


def _nested(argument: Any) -> list[Any]:  # noqa: ANN401  # as above
    """Return the sub-expressions of a node's argument."""
    if isinstance(argument, parser.SubPattern):
        return [argument]
    if isinstance(argument, tuple | list):
        return [part for item in argument for part in _nested(item)]
    return []


def _refusal(what: str) -> NotComputable:
    return NotComputable(
        f"A regex filter with {what} may take too long and is refused: use at most"
        f" {_MOST_REPEATS} open repeats, none inside another.",
        param="filter",
    )
