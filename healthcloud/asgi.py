"""The one process type of the web: HTTP in threads, websockets by Channels, streams on their own.

`uvicorn healthcloud.asgi:application` serves everything on one port.
"""

import gc
import os
from collections.abc import Awaitable, Callable
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "healthcloud.settings")
os.environ.setdefault("HEALTHCLOUD_STATEMENT_SECONDS", "30")  # as long as a request may wait

from healthcloud.wsgi import application as wsgi_application  # noqa: I001 - sets Django up first

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from django.conf import settings
from django.urls import re_path
from django.utils.module_loading import import_string

from healthcloud.organizations.direct import application as direct_application
from healthcloud.organizations.express import application as express_application
from healthcloud.runtime.bridge import AsgiScope, Receive, Send, WsgiBridge

Application = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

_http = WsgiBridge(
    wsgi_application,
    direct=direct_application(),
    threads=settings.WEB_THREADS,
    max_body=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
)
if settings.WEB_CONNECTIONS:
    _http.express = express_application(_http.pool.submit)
_streams: dict[str, Application] = {
    path: import_string(name) for path, name in settings.STREAMING_ROUTES.items()
}


async def _no_websocket(scope: AsgiScope, receive: Receive, send: Send) -> None:
    """Refuse the handshake at an address that no route knows, as HTTP would: 404."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 4404})
        return
    await send({"type": "websocket.http.response.start", "status": 404, "headers": []})
    await send({"type": "websocket.http.response.body", "body": b""})


_websockets = AuthMiddlewareStack(
    URLRouter(
        [
            *(route for name in settings.WEBSOCKET_ROUTES for route in import_string(name)),
            re_path("", cast(Any, _no_websocket)),  # Channels routes to ASGI applications
        ]
    )
)


async def application(scope: AsgiScope, receive: Receive, send: Send) -> None:
    """Hand a connection to the part that serves it."""
    if scope["type"] == "http":
        await _streams.get(scope["path"], _http)(scope, receive, send)
    elif scope["type"] == "websocket":
        await _websockets(scope, receive, send)
    else:
        await _lifespan(receive, send)


def _spare_the_collector() -> None:
    """Leave what was loaded out of Python's rounds for garbage in circles, and have fewer of them.

    They would walk through all of Django and the definitions, and of a request next to nothing is
    in circles (`docs/decisions/0217`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


async def _lifespan(receive: Receive, send: Send) -> None:
    _spare_the_collector()
    while (await receive())["type"] != "lifespan.shutdown":
        await send({"type": "lifespan.startup.complete"})
    _http.pool.shutdown()
    await send({"type": "lifespan.shutdown.complete"})
