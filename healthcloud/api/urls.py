"""Routes of this room: health, metrics, the OpenAPI document and the explorer."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
