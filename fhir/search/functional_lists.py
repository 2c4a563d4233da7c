"""Functional lists: what is current, without a List that somebody keeps. Pure.

https://hl7.org/fhir/R4/lifecycle.html#lists. `AllergyIntolerance?patient=42&_list=
$current-allergies` finds what has not ended and was not refuted.
"""

from collections.abc import Callable
from typing import Final

from fhir.search.errors import SearchRefused, UnsupportedSearch
from fhir.search.request import AllCriterion, Criterion

Read = Callable[[str, str, str], Criterion]
"""Returns the criterion of a type, a parameter's name and a value."""
Rules = tuple[tuple[str, str], ...]

_REFUTED: Final = ("verification-status:not", "refuted,entered-in-error")
_ALLERGIES: Final[Rules] = (("clinical-status:not", "inactive,resolved"), _REFUTED)
_MEDICATIONS: Final[Rules] = (("status", "active"),)
# A diagnosis of one encounter is on nobody's list of problems.
_PROBLEMS: Final[Rules] = (
    ("clinical-status:not", "inactive,remission,resolved"),
    ("category:not", "encounter-diagnosis"),
    _REFUTED,
)
LISTS: Final[dict[str, dict[str, Rules]]] = {
    "$current-problems": {"Condition": _PROBLEMS},
    "$current-medications": {
        "MedicationRequest": _MEDICATIONS,
        "MedicationStatement": _MEDICATIONS,
    },
    "$current-allergies": {"AllergyIntolerance": _ALLERGIES},
    "$current-drug-allergies": {
        "AllergyIntolerance": (*_ALLERGIES, ("category", "medication")),
    },
}
"""The lists by name: what makes a resource of each type a member."""


def functional_list(resource_type: str, name: str, read: Read) -> Criterion:
    """Return the criterion of the members of a functional list.

    Raises UnsupportedSearch for a list that this server does not know, SearchRefused for a type
    that is never on it.
    """
    kinds = LISTS.get(name)
    if kinds is None:
        raise UnsupportedSearch(
            f"This server has no functional list `{name[:60]}`: {', '.join(LISTS)} are there,"
            " and every List by its id.",
            param="_list",
        )
    rules = kinds.get(resource_type)
    if rules is None:
        raise SearchRefused(
            f"`{name}` has no {resource_type}: it is a list of {' and '.join(kinds)}.",
            param="_list",
        )
    parts = tuple(read(resource_type, code, value) for code, value in rules)
    return AllCriterion(resource_type, parts)
