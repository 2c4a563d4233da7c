"""The text of server-sent events: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

import orjson

from healthcloud.events import queries
from healthcloud.events.following import Reset
from healthcloud.events.models import Event
from healthcloud.tenancy.scope import Scope

HEARTBEAT = b": keep-alive\n\n"


def event_message(event: Event, scope: Scope) -> bytes:
    """Return an event; its id is the sequence number that `Last-Event-ID` brings back."""
    data = queries.as_text(event, scope)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.sequence or 0, event.type.encode(), data)


def reset_message(reset: Reset) -> bytes:
    """Return the notice that the place asked for is gone: load the present state anew."""
    data = orjson.dumps({"after": reset.after, "last_sequence": reset.last})
    return b"id: %d\nevent: reset\ndata: %s\n\n" % (reset.after, data)


def retry_message(milliseconds: int) -> bytes:
    """Return how long a client waits before it reconnects."""
    return b"retry: %d\n\n" % milliseconds
