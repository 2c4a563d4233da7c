"""Refusals of a search. https://hl7.org/fhir/R4/search.html#errors"""

from healthcloud.errors import BadRequest


class SearchRefused(BadRequest):
    """The search can't be run as it was written; `param` names the parameter."""

    issue_code = "invalid"


class UnsupportedSearch(SearchRefused):
    """R4 defines this, and this server does not do it yet."""

    issue_code = "not-supported"


class NeverRefers(SearchRefused):
    """The reference parameter of a `_has` never leads to the type that is searched."""


class UnknownSearchParameter(SearchRefused):
    """The type has no such search parameter; only strict handling refuses it."""

    issue_code = "not-supported"
