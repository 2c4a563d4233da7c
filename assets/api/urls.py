"""Routes of assets, below /v1/."""

from django.urls import URLPattern, path

from assets.api import agents, catalog, deployments, installations

_INSTALLATION = "asset-installations/<str:installation_id>"
_DEPLOYMENT = "deployments/<str:deployment_id>"

urlpatterns: list[URLPattern] = [
    path("assets", catalog.Assets.as_view()),
    path("assets/install", catalog.Install.as_view()),
    path("assets/schema.json", catalog.ManifestSchema.as_view()),
    path("assets/<str:asset_id>", catalog.AssetDetail.as_view()),
    path("integrations", catalog.Integrations.as_view()),
    path("integrations/<str:slug>", catalog.IntegrationDetail.as_view()),
    path("asset-installations", installations.Installations.as_view()),
    path(_INSTALLATION, installations.InstallationDetail.as_view()),
    path(f"{_INSTALLATION}/upgrade", installations.InstallationUpgrade.as_view()),
    path(f"{_INSTALLATION}/credentials", installations.InstallationCredentials.as_view()),
    path(f"{_INSTALLATION}/check", installations.InstallationCheck.as_view()),
    path("deployments", deployments.Deployments.as_view()),
    path(_DEPLOYMENT, deployments.DeploymentDetail.as_view()),
    path(f"{_DEPLOYMENT}/stop", deployments.DeploymentStop.as_view()),
    path(f"{_DEPLOYMENT}/start", deployments.DeploymentStart.as_view()),
    path(f"{_DEPLOYMENT}/rollback", deployments.DeploymentRollback.as_view()),
    path(f"{_DEPLOYMENT}/releases", deployments.DeploymentReleases.as_view()),
    path(f"{_DEPLOYMENT}/logs", deployments.DeploymentLogs.as_view()),
    path(f"{_DEPLOYMENT}/health", deployments.DeploymentHealth.as_view()),
    path(f"{_DEPLOYMENT}/invoke", deployments.DeploymentInvoke.as_view()),
    path("agents", agents.Agents.as_view()),
    path("agents/<str:slug>/runs", agents.AgentRuns.as_view()),
    path("agent-runs", agents.AllAgentRuns.as_view()),
    path("agent-runs/<str:run_id>", agents.AgentRunDetail.as_view()),
]
