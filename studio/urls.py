"""Routes of Studio: `/studio/<organization>/<environment>/<project>/…` says where one is."""

from django.urls import include, path, re_path

from studio.views import (
    catalog,
    deployments,
    entry,
    events,
    first_steps,
    home,
    installations,
    projects,
    records,
    runs,
    settings,
    styleguide,
    tasks,
    webhooks,
    workflows,
)

app_name = "studio"

project_patterns = [
    path("", home.home, name="home"),
    path("first-steps/install", first_steps.install_agent, name="first_install"),
    path("first-steps/integrate", first_steps.connect_quest, name="first_integrate"),
    path("first-steps/deploy", first_steps.deploy_both, name="first_deploy"),
    path("first-steps/run", first_steps.run_screening, name="first_run"),
    path("first-steps/patients", first_steps.get_patients, name="first_patients"),
    path("catalog", catalog.catalog, name="catalog"),
    path("catalog/<str:asset_id>", catalog.asset, name="asset"),
    path("catalog/<str:asset_id>/install", installations.install, name="install"),
    path("installations/<str:installation_id>", installations.installation, name="installation"),
    path(
        "installations/<str:installation_id>/configure", installations.configure, name="configure"
    ),
    path(
        "installations/<str:installation_id>/credentials",
        installations.set_credentials,
        name="set_credentials",
    ),
    path("installations/<str:installation_id>/check", installations.check, name="check"),
    path("installations/<str:installation_id>/deploy", installations.deploy, name="deploy"),
    path("installations/<str:installation_id>/upgrade", installations.upgrade, name="upgrade"),
    path(
        "installations/<str:installation_id>/uninstall", installations.uninstall, name="uninstall"
    ),
    path("deployments", deployments.deployments, name="deployments"),
    path("deployments/<str:deployment_id>", deployments.deployment, name="deployment"),
    path("deployments/<str:deployment_id>/stop", deployments.stop, name="stop"),
    path("deployments/<str:deployment_id>/start", deployments.start, name="start"),
    path("deployments/<str:deployment_id>/rollback", deployments.rollback, name="rollback"),
    path("workflows", workflows.workflows, name="workflows"),
    path("workflows/<str:slug>", workflows.workflow, name="workflow"),
    path("workflows/<str:slug>/run", workflows.run_workflow, name="run_workflow"),
    path("runs", runs.runs, name="runs"),
    path("runs/<str:run_id>", runs.run, name="run"),
    path("runs/<str:run_id>/cancel", runs.cancel_run, name="cancel_run"),
    path("runs/<str:run_id>/retry", runs.retry_run, name="retry_run"),
    path("runs/<str:run_id>/again", runs.run_again, name="run_again"),
    path("tasks", tasks.tasks, name="tasks"),
    path("tasks/<str:task_id>", tasks.task, name="task"),
    path("tasks/<str:task_id>/decide", tasks.decide, name="decide"),
    path("records", records.patients, name="records"),
    path("records/find", records.find_resources, name="find_resources"),
    path("records/reference", records.find_reference, name="find_reference"),
    path("records/patients/<str:patient_id>", records.patient, name="patient"),
    path("records/<str:resource_type>", records.resources, name="resources"),
    path("records/<str:resource_type>/<str:resource_id>", records.resource, name="resource"),
    path("events", events.events, name="events"),
    path("events/<str:event_id>", events.event, name="event"),
    path("webhooks", webhooks.webhooks, name="webhooks"),
    path("webhooks/create", webhooks.create_webhook, name="create_webhook"),
    path("webhooks/<str:webhook_id>", webhooks.webhook, name="webhook"),
    path("webhooks/<str:webhook_id>/rotate", webhooks.rotate_webhook, name="rotate_webhook"),
    path("webhooks/<str:webhook_id>/test", webhooks.test_webhook, name="test_webhook"),
    path("webhooks/<str:webhook_id>/status", webhooks.set_webhook_status, name="webhook_status"),
    path("webhooks/<str:webhook_id>/delete", webhooks.delete_webhook, name="delete_webhook"),
    path(
        "webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/redeliver",
        webhooks.redeliver,
        name="redeliver",
    ),
    path("settings", settings.settings, name="settings"),
    path("settings/members", settings.members, name="members"),
    path("settings/members/invite", settings.invite, name="invite"),
    path("settings/members/<str:user_id>/role", settings.change_role, name="change_role"),
    path("settings/members/<str:user_id>/remove", settings.remove_member, name="remove_member"),
    path(
        "settings/invitations/<str:invitation_id>/revoke",
        settings.revoke_invitation,
        name="revoke_invitation",
    ),
    path("settings/keys", settings.keys, name="keys"),
    path("settings/keys/create", settings.create_key, name="create_key"),
    path("settings/keys/<str:key_id>/rotate", settings.rotate_key, name="rotate_key"),
    path("settings/keys/<str:key_id>/revoke", settings.revoke_key, name="revoke_key"),
    path("settings/audit", settings.audit, name="audit"),
]

urlpatterns = [
    path("", entry.entry, name="entry"),
    path("_styleguide", styleguide.styleguide, name="styleguide"),
    path("new", projects.create_organization, name="create_organization"),
    path("invitations/<str:token>/", projects.accept_invitation, name="accept_invitation"),
    path("<slug:organization>", entry.organization, name="organization"),
    path("<slug:organization>/new-project", projects.create_project, name="create_project"),
    re_path(
        r"^(?P<organization>[-\w]+)/(?P<environment>sandbox|production)/(?P<project>[-\w]+)/",
        include(project_patterns),
    ),
]
