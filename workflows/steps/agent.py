"""`agent`: run a deployed agent."""

from workflows.steps.invoking import invoking
from workflows.steps.registry import register

register("agent", invoking("agent"))
