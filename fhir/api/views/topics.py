"""Subscription topics: what can be subscribed to, as Basic resources.

https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/components.html#subscription-topics
"""

from django.http import HttpResponse
from rest_framework.request import Request

from fhir.api.base import FhirView
from fhir.documents import instant, new_id
from fhir.errors import ResourceNotFound
from fhir.subscriptions.topics import advertised, find_by_slug
from healthcloud.api.views import NO_METHODS

_SCOPES = {"GET": "Subscription:read"}


class TopicsView(FhirView):
    """`/v1/fhir/SubscriptionTopic`."""

    audited = False
    required_scopes = _SCOPES
    project_required = NO_METHODS

    def get(self, request: Request) -> HttpResponse:
        """Answer the topics of this server; every type also has one named `{type}-changed`."""
        found = [topic.as_basic() for topic in advertised()]
        root = f"{self.base}/SubscriptionTopic"
        return self.answer(
            {
                "resourceType": "Bundle",
                "id": new_id(),
                "meta": {"lastUpdated": instant(self.now)},
                "type": "searchset",
                "total": len(found),
                "link": [{"relation": "self", "url": root}],
                "entry": [
                    {
                        "fullUrl": f"{root}/{topic['id']}",
                        "resource": topic,
                        "search": {"mode": "match"},
                    }
                    for topic in found
                ],
            }
        )


class TopicView(FhirView):
    """`/v1/fhir/SubscriptionTopic/{id}`."""

    audited = False
    required_scopes = _SCOPES
    project_required = NO_METHODS

    def get(self, request: Request, slug: str) -> HttpResponse:
        """Answer one topic."""
        topic = find_by_slug(slug)
        if topic is None:
            raise ResourceNotFound("SubscriptionTopic", slug)
        return self.answer(topic.as_basic())
