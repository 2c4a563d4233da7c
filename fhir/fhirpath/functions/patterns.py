"""Regular expressions that can't run away: in linear time, or refused.

https://hl7.org/fhirpath/N1/#matchesregex-string-boolean -- `matches` asks the automaton of the
schema validator, whose time is linear in the text; replacing needs groups, which only Python's
engine has here, so patterns that may go back and forth are refused there.
"""

import re
from functools import lru_cache
from typing import Final

from jsonschema_rs import Draft7Validator, RegexOptions, ValidationError

from fhir.fhirpath.errors import EvaluationFailed, OverBudget
from fhir.fhirpath.scope import MAX_TEXT

_LONGEST: Final = 2_000
_SUBJECT: Final = 10_000
# A group or class that repeats, and after it another repeat: work may grow with the text squared.
_REPEAT: Final = re.compile(r"(?<!\\)(?:\\\\)*(?:[*+]|\{\d*,?\d*\})")
_NESTED: Final = re.compile(r"[*+}][^()]*\)(?:[*+]|\{)")
_GROUP: Final = re.compile(r"\$(\d+)|\$\{(\w+)\}")
_OPEN_REPEATS: Final = 4


def tests(pattern: str, subject: str, *, entirely: bool) -> bool:
    """Say whether a pattern is found in a text, or is the entire text."""
    return bool(_automaton(f"^(?:{pattern})$" if entirely else pattern).is_valid(subject))


@lru_cache(maxsize=1024)
def _automaton(pattern: str) -> Draft7Validator:
    if len(pattern) > _LONGEST:
        raise EvaluationFailed(f"A regular expression has at most {_LONGEST} characters.")
    schema = {"pattern": f"(?s:{pattern})"}
    try:
        return Draft7Validator(schema, pattern_options=RegexOptions())
    except (ValidationError, ValueError):
        raise EvaluationFailed(
            f"`{pattern[:80]}` is no regular expression, or one that needs look-around or "
            "back-references, which are not evaluated."
        ) from None


def replace_matches(pattern: str, subject: str, new: str) -> str:
    """Replace what matches; `$1` and `${name}` in the new text are groups."""
    found = _compiled(pattern)
    if len(subject) > _SUBJECT:
        raise OverBudget
    template = _GROUP.sub(lambda group: rf"\g<{group[1] or group[2]}>", new.replace("\\", "\\\\"))
    try:
        if sum(1 for _ in found.finditer(subject)) * (len(new) + len(subject)) > 4 * MAX_TEXT:
            raise OverBudget
        return found.sub(template, subject)
    except (re.error, IndexError):
        raise EvaluationFailed(f"`{new[:80]}` names a group that is not there.") from None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    repeats = len(_REPEAT.findall(pattern))
    if len(pattern) > _LONGEST or repeats > _OPEN_REPEATS or _NESTED.search(pattern):
        raise EvaluationFailed(f"`{pattern[:80]}` may take too long and is not evaluated.")
    try:
        return re.compile(re.sub(r"\(\?<(?=[A-Za-z])", "(?P<", pattern), re.DOTALL)
    except (re.error, RecursionError, OverflowError):
        raise EvaluationFailed(f"`{pattern[:80]}` is no regular expression.") from None
