"""What the OpenAPI document says about these routes beyond their bodies."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

OBJECT = OpenApiTypes.OBJECT


def text(name: str, description: str, choices: list[str] | None = None) -> OpenApiParameter:
    """Return a query parameter that is text."""
    return OpenApiParameter(name, str, description=description, enum=choices)
