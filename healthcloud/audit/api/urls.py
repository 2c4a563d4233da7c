"""Routes of this room."""

from django.urls import path

from healthcloud.audit.api.views import AuditEventListView

urlpatterns = [path("audit-events", AuditEventListView.as_view(), name="audit-events")]
