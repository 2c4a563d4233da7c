"""What the OpenAPI document says about these routes beyond their bodies."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

OBJECT = OpenApiTypes.OBJECT
PAGE = [
    OpenApiParameter("limit", int, description="1 to 100, 20 without it."),
    OpenApiParameter("cursor", str, description="`meta.cursor` of the page before."),
]


def text(name: str, description: str, choices: list[str] | None = None) -> OpenApiParameter:
    """Return a query parameter that is text."""
    return OpenApiParameter(name, str, description=description, enum=choices)
