"""Routes of the FHIR API, relative to /v1/."""

from typing import Final

from django.urls import URLPattern, path, re_path

from fhir.api.views.aliases import AliasInstanceView, AliasView, alias
from fhir.api.views.audit_events import AuditEventsView, AuditEventView
from fhir.api.views.compartment import CompartmentSearchView, CompartmentView
from fhir.api.views.instance import InstanceHistoryView, InstanceView, VersionView
from fhir.api.views.jobs import JobFileView, JobView
from fhir.api.views.metadata import MetadataView
from fhir.api.views.operation import routes
from fhir.api.views.smart import SmartConfigurationView
from fhir.api.views.system import (
    SystemHistoryView,
    SystemSearchView,
    SystemView,
    UnknownFhirView,
)
from fhir.api.views.topics import TopicsView, TopicView
from fhir.api.views.type import SearchView, TypeHistoryView, TypeView

ALIASES: Final = {
    "patients": "Patient",
    "observations": "Observation",
    "conditions": "Condition",
    "encounters": "Encounter",
    "diagnostic-reports": "DiagnosticReport",
}
_TYPE: Final = r"^fhir/(?P<resource_type>[A-Za-z]+)"
# Ids here may begin with an underscore; these words are no ids.
_INSTANCE: Final = _TYPE + r"/(?P<id>(?!_history(?:/|$)|_search(?:/|$)|\$)[^/]+)"
_SEARCHED: Final = r"/(?P<searched>[A-Z][A-Za-z]+|\*)"

urlpatterns: list[URLPattern] = [
    path("fhir/.well-known/smart-configuration", SmartConfigurationView.as_view(schema=None)),
    path("fhir/metadata", MetadataView.as_view()),
    path("fhir", SystemView.as_view()),
    path("fhir/", SystemView.as_view(schema=None)),
    path("fhir/SubscriptionTopic", TopicsView.as_view()),
    path("fhir/SubscriptionTopic/<str:slug>", TopicView.as_view()),
    path("fhir/AuditEvent", AuditEventsView.as_view()),
    re_path(r"^fhir/AuditEvent/(?P<id>(?:acc|aud)-[^/]+)$", AuditEventView.as_view(schema=None)),
    path("fhir/_history", SystemHistoryView.as_view()),
    path("fhir/_search", SystemSearchView.as_view()),
    path("fhir/_jobs/<str:id>", JobView.as_view()),
    path("fhir/_jobs/<str:id>/<int:number>", JobFileView.as_view()),
    re_path(_TYPE + r"$", TypeView.as_view()),
    re_path(_TYPE + r"/$", TypeView.as_view(schema=None)),
    re_path(_TYPE + r"/_search$", SearchView.as_view()),
    re_path(_TYPE + r"/_history$", TypeHistoryView.as_view()),
    re_path(_INSTANCE + r"$", InstanceView.as_view()),
    re_path(_INSTANCE + r"/_history$", InstanceHistoryView.as_view()),
    re_path(_INSTANCE + r"/_history/(?P<version>[^/]+)$", VersionView.as_view()),
    *routes(),
    re_path(_INSTANCE + r"/_search$", CompartmentSearchView.as_view()),
    re_path(_INSTANCE + _SEARCHED + r"$", CompartmentView.as_view()),
    re_path(_INSTANCE + _SEARCHED + r"/_search$", CompartmentSearchView.as_view()),
    re_path(r"^fhir/(?P<rest>[\s\S]+)$", UnknownFhirView.as_view(schema=None)),
]
for name, resource_type in ALIASES.items():
    view = alias(resource_type)
    urlpatterns += [
        path(name, AliasView.as_view(**view)),
        path(f"{name}/<str:id>", AliasInstanceView.as_view(**view)),
    ]
