"""`model`: score with a deployed model."""

from workflows.steps.invoking import invoking
from workflows.steps.registry import register

register("model", invoking("model"))
