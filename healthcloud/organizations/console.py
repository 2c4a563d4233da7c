"""The admin console's content security policy, which its theme needs looser than ours."""

from collections.abc import Callable
from typing import Final

from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse

_PATH: Final = "/admin/"
# Unfold's Alpine.js evaluates expressions in its templates, and sets styles; scripts still come
# from this server only.
_LOOSENED: Final = {"script-src": ["'unsafe-eval'"], "style-src": ["'unsafe-inline'"]}


class ConsolePolicyMiddleware:
    """Let pages below /admin/ evaluate expressions; staff only ever see them."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        self.get_loosened: Callable[[HttpRequest], HttpResponse] = csp_update(_LOOSENED)(
            get_response
        )

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer, with the looser policy for the console."""
        if request.path.startswith(_PATH):
            return self.get_loosened(request)
        return self.get_response(request)
