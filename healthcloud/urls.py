"""The routes of the whole application; rooms and apps are named as strings only."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

handler400 = "healthcloud.api.handlers.bad_request"
handler403 = "healthcloud.api.handlers.permission_denied"
handler404 = "healthcloud.api.handlers.page_not_found"
handler500 = "healthcloud.api.handlers.server_error"

urlpatterns = [
    path("", RedirectView.as_view(url="/studio/")),
    path("", include("healthcloud.api.urls")),
    path("", include("healthcloud.organizations.explorer")),
    path("", include("healthcloud.organizations.oauth")),
    path("v1/", include("healthcloud.organizations.api.urls")),
    path("v1/", include("healthcloud.events.api.urls")),
    path("v1/", include("healthcloud.audit.api.urls")),
    path("v1/", include("assets.api.urls")),
    path("v1/", include("workflows.api.urls")),
    path("v1/", include("fhir.api.urls")),
    path("", include("healthcloud.api.fallback")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("oauth/", include("studio.authorization")),
    path("studio/", include("studio.urls")),
]
