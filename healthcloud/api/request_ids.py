"""Gives every request an id, which logs, audit, errors and jobs carry."""

import contextvars
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from django.http import HttpRequest, HttpResponse

from healthcloud.identifiers import new_id

HEADER: Final = "X-Request-Id"
_VARIABLE: Final = "HTTP_X_REQUEST_ID"
_WELL_FORMED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{7,63}")
log_request_id: contextvars.ContextVar[str] = contextvars.ContextVar("log_request_id", default="-")


class RequestIdMiddleware:
    """Keep a client's own well-formed id, or make one, and answer with it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Stamp the request, and the response with the same id."""
        with serving(request):
            response = self.get_response(request)
        response[HEADER] = request_id(request)
        return response


@contextmanager
def serving(request: HttpRequest) -> Iterator[None]:
    """Let logs, audit and jobs of the block carry the id of a request."""
    token = log_request_id.set(request_id(request))
    try:
        yield
    finally:
        log_request_id.reset(token)


def request_id(request: HttpRequest) -> str:
    """Return the id of a request, made on first use."""
    known = getattr(request, "healthcloud_request_id", None)
    if isinstance(known, str):
        return known
    made = chosen(str(request.META.get(_VARIABLE, "")))
    request.healthcloud_request_id = made  # type: ignore[attr-defined]  # HttpRequest is open
    return made


def chosen(offered: str) -> str:
    """Return a client's own well-formed id, or a new one."""
    return offered if _WELL_FORMED.fullmatch(offered) else new_id("req")


def current_request_id() -> str:
    """Return the id of the request that this code serves, empty outside one."""
    known = log_request_id.get()
    return "" if known == "-" else known


class RequestIdFilter(logging.Filter):
    """Put the current request's id on each log record, as `request_id`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the id and let every record through."""
        record.request_id = log_request_id.get()
        return True
