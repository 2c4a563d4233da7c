"""Routes of this room: health, metrics, the OpenAPI document and the explorer."""

from django.urls import URLPattern, URLResolver, include, path

from healthcloud.api.openapi import openapi

urlpatterns: list[URLPattern | URLResolver] = [
    path("", include("healthcloud.api.health")),
    path("v1/openapi.json", openapi, name="openapi"),
]
