"""Channels: what other rooms send through the webhook engine, with its schedule, pause and log.

A webhook of the purpose `events` carries events of the platform. Another room registers a channel
for a purpose of its own: it composes each message when it is due, and is told how it went.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from healthcloud.events.models import Delivery, Webhook


@dataclass(frozen=True, slots=True)
class Message:
    """What one attempt sends; the signature is added to the headers."""

    url: str
    body: bytes
    content_type: str = ""
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None


class Channel(Protocol):
    """What a room does for its deliveries; each call is inside the scope of their project."""

    def compose(self, delivery: Delivery, *, now: datetime) -> Message | None:
        """Return what to send, None when there is nothing to send any more."""

    def delivered(self, delivery: Delivery, *, now: datetime) -> None:
        """Take note that the receiver has it."""

    def refused(self, delivery: Delivery, *, reason: str, now: datetime) -> bool:
        """Take note of a failed attempt; return whether to try again."""

    def stopped(self, webhook: Webhook, *, reason: str, now: datetime) -> None:
        """Take note that nothing is sent any more: too many failures, or the receiver's 410."""


_channels: dict[str, Channel] = {}


def register(purpose: str, channel: Channel) -> None:
    """Let a channel serve the webhooks of a purpose; in the app's `tasks.py`."""
    _channels[purpose] = channel


def channel_of(webhook: Webhook) -> Channel | None:
    """Return the channel of a webhook, None for one that carries events."""
    return _channels.get(webhook.purpose)
