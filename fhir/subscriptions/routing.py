"""Websocket routes of Subscriptions."""

from django.urls import path

from fhir.subscriptions.binding import PATH
from fhir.subscriptions.websocket import SubscriptionConsumer

websocket_urlpatterns = [path(PATH.lstrip("/"), SubscriptionConsumer.as_asgi())]
