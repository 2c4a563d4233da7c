"""The routes of the whole application; rooms and apps are named as strings only."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

urlpatterns = [
    path("", RedirectView.as_view(url="/studio/")),
    path("", include("healthcloud.api.urls")),
    path("v1/", include("healthcloud.organizations.api.urls")),
    path("v1/", include("healthcloud.events.api.urls")),
    path("v1/", include("healthcloud.audit.api.urls")),
    path("v1/", include("assets.api.urls")),
    path("v1/", include("workflows.api.urls")),
    path("v1/", include("fhir.api.urls")),
    path("accounts/", include("allauth.urls")),
    path("admin/", admin.site.urls),
    path("studio/", include("studio.urls")),
]
