"""What can be wrong with an expression or its evaluation."""


class FhirPathError(Exception):
    """An expression that can't be read or evaluated."""


class SyntaxRefused(FhirPathError):
    """Not FHIRPath; `column` counts from 1."""

    def __init__(self, column: int) -> None:
        super().__init__(f"Not FHIRPath at character {column}")
        self.column = column


class EvaluationFailed(FhirPathError):
    """The expression has no value for this input: several items instead of one, wrong types."""


class Unsupported(FhirPathError):
    """A function or variable that does not exist here."""


class OverBudget(Exception):
    """The evaluation takes more work, time or space than it may."""
