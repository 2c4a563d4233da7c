"""Routes of workflows, relative to /v1/."""

from django.urls import path

from workflows.api import runs, tasks, triggers, workflows

urlpatterns = [
    path("workflows", workflows.Workflows.as_view()),
    path("workflows/run", runs.StartRun.as_view()),
    path("workflows/runs", runs.Runs.as_view()),
    path("workflows/runs/<str:run_id>", runs.RunDetail.as_view()),
    path("workflows/runs/<str:run_id>/steps", runs.RunSteps.as_view()),
    path("workflows/runs/<str:run_id>/logs", runs.RunLogs.as_view()),
    path("workflows/runs/<str:run_id>/cancel", runs.CancelRun.as_view()),
    path("workflows/runs/<str:run_id>/retry", runs.RetryRun.as_view()),
    path("workflows/runs/<str:run_id>/resume", runs.ResumeRun.as_view()),
    path("workflows/runs/<str:run_id>/signal", runs.SignalRun.as_view()),
    path("workflows/runs/<str:run_id>/rerun", runs.RerunRun.as_view()),
    path("workflows/runs/<str:run_id>/graph", runs.RunGraph.as_view()),
    path("workflows/runs/<str:run_id>/timeline", runs.RunTimeline.as_view()),
    path("workflows/runs/<str:run_id>/values/<str:value_id>", runs.StoredValues.as_view()),
    path("workflows/templates", workflows.Templates.as_view()),
    path("workflows/templates/<str:template_id>", workflows.FromTemplate.as_view()),
    path("workflows/import", workflows.Import.as_view()),
    path("workflows/validate", workflows.Validate.as_view()),
    path("workflows/schema.json", workflows.Schema.as_view()),
    path("workflows/<str:slug>", workflows.WorkflowDetail.as_view()),
    path("workflows/<str:slug>/versions", workflows.Versions.as_view()),
    path("workflows/<str:slug>/diff", workflows.Difference.as_view()),
    path("workflows/<str:slug>/promote", workflows.Promote.as_view()),
    path("workflows/<str:slug>/publish", workflows.Publish.as_view()),
    path("workflows/<str:slug>/validate", workflows.Validate.as_view()),
    path("workflows/<str:slug>/export", workflows.Export.as_view()),
    path("workflows/<str:slug>/triggers", triggers.Triggers.as_view()),
    path(
        "workflows/<str:slug>/triggers/<str:name>/rotate-secret",
        triggers.RotateTriggerSecret.as_view(),
    ),
    path("hooks/<str:environment_id>/<str:trigger_id>", triggers.Hook.as_view()),
    path("tasks", tasks.Tasks.as_view()),
    path("tasks/<str:task_id>", tasks.TaskDetail.as_view()),
    path("tasks/<str:task_id>/decide", tasks.DecideTask.as_view()),
]
