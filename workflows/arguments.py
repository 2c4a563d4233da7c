"""Resolving what a step is given: its `with`, with the values of expressions in place. Pure."""

from typing import Final
from urllib.parse import quote as percent_encode

from workflows.definition import Step
from workflows.expressions import Roots, resolve, resolve_list
from workflows.kinds import KINDS
from workflows.state import Json

# Texts that are queries or addresses: each interpolated value is quoted, so that it stays one.
QUERIES: Final = frozenset(
    {
        ("fhir_search", "query"),
        ("fhir_read", "reference"),
        ("fhir_create", "if_none_exist"),
        ("fhir_patch", "reference"),
        ("http_request", "url"),
    }
)
_AS_WRITTEN: Final = frozenset({("approval", "form")})


def resolved_arguments(step: Step, roots: Roots) -> Json:
    """Return the arguments of a step; raise ExpressionError. Deferred ones are left out."""
    kind = KINDS[step.kind]
    resolved: Json = {}
    for name, value in step.arguments.items():
        argument = kind.argument(name)
        if argument is not None and argument.deferred:
            continue
        if (step.kind, name) in QUERIES:
            resolved[name] = resolve(value, roots, _quote)
        elif argument is not None and argument.type == "list":
            resolved[name] = resolve_list(value, roots)
        elif (step.kind, name) in _AS_WRITTEN:
            resolved[name] = value
        else:
            resolved[name] = resolve(value, roots)
    return resolved


def _quote(text: str) -> str:
    """Percent-encode a value of a query, so that it can't add parameters or leave its place."""
    return percent_encode(text, safe="")
