"""FHIRPath: parsed strictly, compiled to functions, evaluated within a budget. Pure.

https://hl7.org/fhirpath/N1/ with the types and functions of https://hl7.org/fhir/R4/fhirpath.html.
A syntax error is an error; each evaluated part and each item counts, and results that grow without
measure end the evaluation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import DecimalException
from functools import lru_cache
from typing import Any, Final

from fhir.fhirpath.compiling import compile_tree
from fhir.fhirpath.equality import truth
from fhir.fhirpath.errors import (
    EvaluationFailed,
    FhirPathError,
    OverBudget,
    SyntaxRefused,
    Unsupported,
)
from fhir.fhirpath.nodes import Node, items_of, node_of, to_json
from fhir.fhirpath.references import references, unknown_functions
from fhir.fhirpath.scope import MAX_TEXT, Budget, Environment, Items, Run, Scope
from fhir.fhirpath.syntax import Tree, parse

__all__ = [
    "MAX_TEXT",
    "Budget",
    "Environment",
    "EvaluationFailed",
    "FhirPathError",
    "Node",
    "OverBudget",
    "Path",
    "Scope",
    "SyntaxRefused",
    "Tree",
    "Unsupported",
    "compile_path",
    "items_of",
    "node_of",
    "references",
    "to_json",
    "truth",
    "unknown_functions",
]


@dataclass(frozen=True, slots=True)
class Path:
    """An expression that can be evaluated many times."""

    text: str
    tree: Tree
    run: Run

    def evaluate(self, focus: Items, scope: Scope) -> Items:
        """Return the resulting collection; raise EvaluationFailed, Unsupported or OverBudget."""
        scope.this = focus
        try:
            return self.run(focus, scope)
        except RecursionError:
            raise OverBudget from None
        except (DecimalException, ArithmeticError):
            raise EvaluationFailed("A number is too large.") from None

    def values(self, roots: Mapping[str, Any], *, now: datetime | None = None) -> list[Any]:
        """Return the result over JSON as JSON; the roots are names, and variables too."""
        variables = {name: items_of(value) for name, value in roots.items()}
        whole = Node(dict(roots))
        scope = Scope({**variables, "context": [whole]}, now=now)
        return [to_json(item) for item in self.evaluate([whole], scope)]


_LONGEST: Final = 20_000


@lru_cache(maxsize=4096)
def compile_path(text: str) -> Path:
    """Return a compiled expression; raise FhirPathError, or OverBudget for its size."""
    if len(text) > _LONGEST:
        raise OverBudget
    try:
        tree = parse(text)
        return Path(text, tree, compile_tree(tree))
    except RecursionError:
        raise OverBudget from None
