"""The WSGI application of all simulators, by mount, and the server that runs it on loopback."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from assets.simulators.exchange import Answer, Request
from assets.simulators.payer.server import PayerSimulator
from assets.simulators.quest.server import QuestSimulator

logger = logging.getLogger(__name__)

MAXIMUM_BODY = 16 * 1024 * 1024
StartResponse = Callable[[str, list[tuple[str, str]]], object]


class Simulator(Protocol):
    """A vendor's server: answers requests below its mount."""

    def answer(self, request: Request) -> Answer: ...


class Simulators:
    """Routes `/quest/…` and its siblings; `/` and `/health` say what there is."""

    def __init__(self, mounts: Mapping[str, Simulator]) -> None:
        self._mounts = dict(mounts)

    def __call__(
        self, environ: dict[str, object], start_response: StartResponse
    ) -> Iterable[bytes]:
        """Answer one WSGI request."""
        answer = self._answer(environ)
        headers = {"Content-Type": answer.content_type, **answer.headers}
        headers["Content-Length"] = str(len(answer.body))
        start_response(f"{answer.status} {answer.phrase}", list(headers.items()))
        return [answer.body]

    def _answer(self, environ: dict[str, object]) -> Answer:
        path = str(environ.get("PATH_INFO", "/"))
        mount, _, rest = path.strip("/").partition("/")
        if mount in ("", "health"):
            return Answer.json({"status": "ok", "simulators": sorted(self._mounts)})
        simulator = self._mounts.get(mount)
        if simulator is None:
            return Answer.json({"error": f"no simulator at /{mount}"}, status=404)
        request = _request(environ, "/" + rest)
        if request is None:
            return Answer.json({"error": "body too large"}, status=413)
        try:
            return simulator.answer(request)
        except Exception:
            logger.exception("simulator_failed")
            return Answer.json({"error": "simulator failed"}, status=500)


def _request(environ: dict[str, object], path: str) -> Request | None:
    length = str(environ.get("CONTENT_LENGTH") or "0")
    size = int(length) if length.isdigit() else 0
    if size > MAXIMUM_BODY:
        return None
    body = environ["wsgi.input"].read(size) if size else b""  # type: ignore[attr-defined]  # WSGI says it is a stream
    headers = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["content-type"] = str(environ.get("CONTENT_TYPE", ""))
    return Request(str(environ["REQUEST_METHOD"]), path, headers, body)


def application() -> Simulators:
    """Return the application with all simulators mounted."""
    return Simulators({"payer": PayerSimulator(), "quest": QuestSimulator()})


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        logger.debug(format, *args)


def serve(port: int, *, host: str = "127.0.0.1") -> WSGIServer:
    """Return a server that is bound (port 0: any free one); call `serve_forever`."""
    return make_server(
        host, port, application(), server_class=_ThreadingServer, handler_class=_QuietHandler
    )


def serve_in_thread(port: int = 0) -> tuple[WSGIServer, str]:
    """Start a server in a thread of its own; return it and its address."""
    server = serve(port)
    threading.Thread(target=server.serve_forever, daemon=True, name="simulators").start()
    return server, f"http://127.0.0.1:{server.server_port}"
