"""`http_request`: call an address outside; the output is `{"status", "headers", "body"}`.

Only hosts that the deployment allows are called, through the one door out with its guard against
addresses inside a network. Each attempt of the same step carries the same `Idempotency-Key`, so
that a receiver that honors it acts once.
"""

import json
from typing import Any, Final

from django.conf import settings

from healthcloud import http
from workflows.steps.errors import InvalidArgument, RequestRefused
from workflows.steps.registry import Call, Outside, register

_TIMEOUT: Final = 30.0
_MAX_BYTES: Final = 4 * 1_048_576
_FORBIDDEN: Final = frozenset({"authorization", "cookie", "host", "proxy-authorization"})
_KEPT: Final = frozenset({"content-type", "etag", "last-modified", "location", "retry-after"})


def execute(call: Call) -> dict[str, Any]:
    """Send the request and return what came back."""
    arguments = call.arguments
    method = arguments.get("method", "GET")
    body = arguments.get("body")
    if not isinstance(arguments["url"], str):
        raise InvalidArgument("with.url must be text")
    client = http.client(
        allow_hosts=settings.WORKFLOW_HTTP_HOSTS,
        allow_loopback=call.scope.environment == "sandbox" and settings.ALLOW_LOOPBACK_WEBHOOKS,
        timeout=min(call.step.timeout or _TIMEOUT, 120.0),
        max_response_bytes=_MAX_BYTES,
        retries=0,
    )
    response = client.request(
        method,
        arguments["url"],
        headers={**_headers(arguments.get("headers")), "idempotency-key": call.key},
        params=_texts(arguments.get("query"), "query") or None,
        content=body if isinstance(body, str) else None,
        json=None if isinstance(body, str) else body,
    )
    if arguments.get("expect", "success") == "success" and not 200 <= response.status < 300:
        raise RequestRefused(response.status, response.retry_after)
    headers = {k.lower(): v for k, v in response.headers.items() if k.lower() in _KEPT}
    return {"status": response.status, "headers": headers, "body": _body(response.content)}


def commit(call: Call, answer: dict[str, Any]) -> dict[str, Any]:
    """Return the answer as the step's output; nothing else is written."""
    return answer


def abandon(call: Call, answer: dict[str, Any], error: Exception) -> None:
    """Nothing is kept of an answer that could not be put down: the next attempt asks again."""


def _headers(value: object) -> dict[str, str]:
    headers = _texts(value, "headers")
    for name in headers:
        if name.lower() in _FORBIDDEN:
            raise InvalidArgument(
                f"with.headers can't set `{name}`: use a connector, which keeps credentials sealed"
            )
    return headers


def _texts(value: object, name: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidArgument(f"with.{name} must be an object of texts")
    return {str(k): str(v) for k, v in value.items() if v is not None}


def _body(content: bytes) -> Any:  # noqa: ANN401  # JSON, or text
    try:
        return json.loads(content) if content else None
    except ValueError:
        return content.decode("utf-8", "replace").replace("\x00", "")


register("http_request", Outside(execute, commit, abandon))
