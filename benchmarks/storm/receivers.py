"""What listens outside: webhook receivers, a service that counts calls, an SSE and a websocket."""

import base64
import hashlib
import hmac
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
from websockets.sync.client import connect

from benchmarks.storm.journal import Journal
from benchmarks.storm.platform import Json


class Outside:
    """An HTTP server: `/hook/<name>` takes events, `/call/…` counts by idempotency key.

    The hook `flaky` refuses one event in five; `/call/…?fail=2` refuses the first two calls of
    each key, so that the step has to try again.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.calls: Counter[str] = Counter()
        self.secrets: dict[str, bytes] = {}
        self.lock = threading.Lock()
        outside = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                status = outside.take(self.path, dict(self.headers), self.rfile.read(length))
                content = json.dumps({"status": status}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                return  # whoever called was killed

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        """Note what came and return the status to answer."""
        lower = {name.lower(): value for name, value in headers.items()}
        if path.startswith("/hook/"):
            name = path.removeprefix("/hook/")
            status = 503 if name == "flaky" and random.random() < 0.2 else 200
            event = json.loads(body)
            facts = {"type": event["type"], "sequence": event["sequence"]}
            facts["signed"] = self._is_signed(name, lower, body)
            self.journal.note("hook", hook=name, id=lower["webhook-id"], status=status, **facts)
            return status
        key = lower.get("idempotency-key", "")
        with self.lock:
            self.calls[key] += 1
            count = self.calls[key]
        status = 503 if "fail=2" in path and count <= 2 else 200
        self.journal.note("call", path=path, key=key, count=count, status=status)
        return status

    def trust(self, name: str, secret: str) -> None:
        """Remember with which secret a hook is signed."""
        self.secrets[name] = base64.b64decode(secret.removeprefix("whsec_"))

    def _is_signed(self, name: str, headers: dict[str, str], body: bytes) -> bool:
        """Check the signature as a receiver does, by the book of Standard Webhooks."""
        content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        digest = hmac.new(self.secrets[name], content, hashlib.sha256).digest()
        wanted = f"v1,{base64.b64encode(digest).decode()}"
        return wanted in headers["webhook-signature"].split()

    def stop(self) -> None:
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()


class Listener:
    """Follows the event stream over one transport, and reconnects with its last number."""

    def __init__(self, name: str, state: Json, journal: Journal, after: int) -> None:
        self.name = name
        self.state = state
        self.journal = journal
        self.last = after
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True, name=name)
        self.thread.start()

    def _run(self) -> None:
        follow = self._sse if self.name == "sse" else self._websocket
        while not self.ending.is_set():
            try:
                for event in follow():
                    self._heard(event)
            except Exception as error:
                self.journal.note("reconnect", stream=self.name, error=type(error).__name__)
            self.ending.wait(0.3)

    def _heard(self, event: dict[str, Any]) -> None:
        self.last = int(event["sequence"])
        self.journal.note(
            "heard", stream=self.name, sequence=self.last, id=event["id"], type=event["type"]
        )

    def _sse(self) -> Iterator[Json]:
        headers = {
            "Authorization": f"Bearer {self.state['sandbox_key']}",
            "HealthCloud-Project": self.state["project_id"],
            "Last-Event-ID": str(self.last),
        }
        url = f"{self.state['base_url']}/v1/events/stream?type=*,fhir.*"
        with httpx.stream("GET", url, headers=headers, timeout=30) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                if self.ending.is_set():
                    return
                if line.startswith("data:"):
                    event = json.loads(line.removeprefix("data:"))
                    if "sequence" in event and "id" in event:
                        yield event

    def _websocket(self) -> Iterator[Json]:
        place = self.state["base_url"].replace("http", "ws", 1)
        url = f"{place}/v1/events/ws?after={self.last}&type=*,fhir.*"
        headers = {
            "Authorization": f"Bearer {self.state['sandbox_key']}",
            "HealthCloud-Project": self.state["project_id"],
        }
        with connect(url, additional_headers=headers, open_timeout=10) as socket:
            while not self.ending.is_set():
                try:
                    message = json.loads(socket.recv(timeout=1))
                except TimeoutError:
                    continue
                event = message.get("event", message)
                if "sequence" in event and "id" in event:
                    yield event

    def stop(self) -> None:
        """Stop following."""
        self.ending.set()
        self.thread.join(timeout=5)
