"""First-class types of the platform API: `/v1/patients` is the FHIR search of Patient."""

from typing import ClassVar

from django.http import HttpResponse
from rest_framework.request import Request

from fhir import store
from fhir.api.base import FhirView
from fhir.api.searching import answer_search
from fhir.api.views.instance import answer_version


class AliasView(FhirView):
    """`/v1/patients` and its kin: the same parameters, the same Bundle."""

    aliased: ClassVar[str] = ""

    def scope_needed(self, method: str) -> str | None:
        """Return the scope of the type that the alias stands for."""
        return f"{self.aliased}:read"

    def get(self, request: Request) -> HttpResponse:
        """Search the type."""
        return answer_search(self, self.aliased, self.query_pairs())


class AliasInstanceView(AliasView):
    """`/v1/patients/{id}`: the resource."""

    def get(self, request: Request, id: str) -> HttpResponse:  # type: ignore[override]  # one address more
        """Answer the current version."""
        return answer_version(self, store.read(resource_type=self.aliased, id=id))


def alias(resource_type: str) -> dict[str, object]:
    """Return what `as_view` takes to serve a type."""
    return {"aliased": resource_type, "implied": {"resource_type": resource_type}}
