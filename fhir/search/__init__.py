"""Search over the clinical store. https://hl7.org/fhir/R4/search.html

Other parts call `search` and `first`, inside a `tenant_scope` that names a project. They are
loaded on first use, so that the pure modules of this package stay free of Django.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fhir.search.service import SearchResult, first, search

__all__ = ["SearchResult", "first", "search"]


def __getattr__(name: str) -> object:
    if name in __all__:
        return getattr(import_module("fhir.search.service"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
