"""Routes of this room: health, metrics, the OpenAPI document and the explorer."""

from django.urls import URLPattern, URLResolver, include, path

urlpatterns: list[URLPattern | URLResolver] = [path("", include("healthcloud.api.health"))]
