"""Routes of this room, below /v1/."""

from django.urls import URLPattern, path

from healthcloud.organizations.api import keys, organizations, people, smart, usage

urlpatterns: list[URLPattern] = [
    path("organizations", organizations.Organizations.as_view()),
    path("organizations/<str:organization_id>", organizations.OrganizationDetail.as_view()),
    path("projects", organizations.Projects.as_view()),
    path("projects/<str:project_id>", organizations.ProjectDetail.as_view()),
    path("projects/<str:project_id>/archive", organizations.ProjectArchive.as_view()),
    path("projects/<str:project_id>/restore", organizations.ProjectRestore.as_view()),
    path("users", people.Users.as_view()),
    path("users/<str:user_id>", people.UserDetail.as_view()),
    path("invitations", people.Invitations.as_view()),
    path("invitations/accept", people.InvitationAccept.as_view()),
    path("invitations/<str:invitation_id>", people.InvitationDetail.as_view()),
    path("api-keys", keys.ApiKeys.as_view()),
    path("api-keys/<str:key_id>", keys.ApiKeyDetail.as_view()),
    path("api-keys/<str:key_id>/rotate", keys.ApiKeyRotate.as_view()),
    path("api-keys/<str:key_id>/revoke", keys.ApiKeyRevoke.as_view()),
    path("smart/clients", smart.SmartClients.as_view()),
    path("smart/clients/<str:client_id>", smart.SmartClientDetail.as_view()),
    path("smart/clients/<str:client_id>/rotate-secret", smart.SmartClientSecret.as_view()),
    path("smart/clients/<str:client_id>/launches", smart.SmartLaunches.as_view()),
    path("smart/clients/<str:client_id>/grants", smart.SmartGrants.as_view()),
    path("smart/grants/<str:grant_id>", smart.SmartGrantDetail.as_view()),
    path("usage", usage.Usage.as_view()),
    path("auth/token", keys.AuthToken.as_view()),
]
