"""The last route under /v1: whatever no other route knows is 404 in JSON."""

from django.urls import URLPattern, re_path

from healthcloud.api.views import UnknownRoute

urlpatterns: list[URLPattern] = [re_path(r"^v1(?:/[\s\S]*)?$", UnknownRoute.as_view())]
