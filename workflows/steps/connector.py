"""`connector`: do an action of a deployed connector."""

from workflows.steps.invoking import invoking
from workflows.steps.registry import register

register("connector", invoking("connector"))
