"""The names under which triggers listen to events and to changes of clinical data."""

from typing import Final

LISTENER: Final = "workflows"
SCHEDULE_KIND: Final = "workflow.schedule"
