"""OpenAPI 3.1: each route with its scope, its answers with scope metadata, and the error shape."""

from drf_spectacular.openapi import AutoSchema


class PlatformSchema(AutoSchema):  # type: ignore[misc]  # drf-spectacular is untyped
    """Describes a PlatformView."""
