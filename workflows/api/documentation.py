"""The query parameters of the lists of workflows, as OpenAPI tells them."""

from typing import Final

from drf_spectacular.utils import OpenApiParameter

from healthcloud.api.pagination import PAGE

RUNS: Final = [
    OpenApiParameter("workflow", str, description="Slug of the workflow."),
    OpenApiParameter("version", int, description="The version that runs are on."),
    OpenApiParameter("status", str, description="`queued`, `running`, `waiting`, `completed`, …."),
    OpenApiParameter("trigger", str, description="What started them: `api`, `event`, `rerun`, …."),
    OpenApiParameter("patient", str, description="The patient of `input.patient_id`."),
    OpenApiParameter("parent", str, description="The run whose children are meant."),
    OpenApiParameter("since", str, description="Runs that were started from this time on."),
    OpenApiParameter("until", str, description="Runs that were started before this time."),
    *PAGE,
]
TASKS: Final = [
    OpenApiParameter(
        "status", str, description="`open`, `approved`, `rejected`, `expired`, `canceled`."
    ),
    OpenApiParameter("run_id", str, description="The run that asks."),
    *PAGE,
]
LOGS: Final = [OpenApiParameter("step_id", str, description="The step that wrote."), *PAGE]
EXPORT: Final = [OpenApiParameter("version", str, description="A version's number, or `draft`.")]
DIFFERENCE: Final = [
    OpenApiParameter("from", str, description="A version's number, the published one without it."),
    OpenApiParameter("to", str, description="A version's number, the draft without it."),
]
