"""Websocket routes of this room."""

from django.urls import path

from healthcloud.events.consumers import EventsConsumer

websocket_urlpatterns = [path("v1/events/ws", EventsConsumer.as_asgi())]
