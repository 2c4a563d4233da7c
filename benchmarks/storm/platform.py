"""The platform under the storm: started in a home of its own, called over HTTP until it answers."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks.storm.journal import Journal

ROOT = Path(__file__).resolve().parents[2]
Json = dict[str, Any]


class Unanswered(RuntimeError):
    """A request was refused, or not answered for very long."""


class Platform:
    """`manage.py up` in a folder of its own, and what its `local.json` says."""

    def __init__(
        self, home: Path, port: int, *, lease: int, broker: str = "", workers: int = 2
    ) -> None:
        self.home = home
        removed = {"DATABASE_URL", "VALKEY_URL", "BROKER_URL"}
        kept = {name: value for name, value in os.environ.items() if name not in removed}
        self.environment = {
            **kept,
            **({"BROKER_URL": broker} if broker else {}),
            "HEALTHCLOUD_HOME": str(home),
            "PORT": str(port),
            "HEALTHCLOUD_LEASE_SECONDS": str(lease),
            "HEALTHCLOUD_WORKERS": str(workers),
            "HEALTHCLOUD_WORKFLOW_HTTP_HOSTS": "127.0.0.1",
        }

    def start(self) -> None:
        """Start everything, with the demonstration's data."""
        self.manage("up", "--detach")

    def stop(self) -> None:
        """Stop everything."""
        self.manage("down")

    def manage(self, *arguments: str) -> str:
        """Run a management command; raise with its output when it fails."""
        answer = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise RuntimeError(answer.stdout + answer.stderr)
        return answer.stdout

    @property
    def state(self) -> Json:
        """Return `local.json` as it is now."""
        return dict(json.loads((self.home / "local.json").read_text(encoding="utf-8")))


class Client:
    """Calls the API as an ordinary client does: what died unanswered is asked again.

    A POST carries an Idempotency-Key, so that asking again is one effect. Every answer is noted.
    """

    def __init__(self, state: Json, journal: Journal, *, patience: float = 120.0) -> None:
        self.journal = journal
        self.patience = patience
        self.http = httpx.Client(
            base_url=state["base_url"],
            headers={
                "Authorization": f"Bearer {state['sandbox_key']}",
                "HealthCloud-Project": state["project_id"],
            },
            timeout=20.0,
        )

    def ask(
        self, method: str, path: str, body: object = None, *, key: str = "", expect: str = "2"
    ) -> Json:
        """Ask until there is an answer that is not about being down; return its body."""
        deadline = time.monotonic() + self.patience
        headers = {"Idempotency-Key": key} if key else {}
        while True:
            status, answer, wait = self._try(method, path, body, headers)
            if str(status).startswith(expect):
                return answer
            if status not in {0, 429, 500, 502, 503} and not (status == 409 and wait):
                raise Unanswered(f"{method} {path}: {status} {json.dumps(answer)[:400]}")
            if time.monotonic() > deadline:
                raise Unanswered(f"{method} {path}: still {status} after {self.patience:g} s")
            time.sleep(wait or 0.3)

    def _try(
        self, method: str, path: str, body: object, headers: dict[str, str]
    ) -> tuple[int, Json, float]:
        began = time.monotonic()
        try:
            answer = self.http.request(method, f"/v1/{path}", json=body, headers=headers)
        except httpx.HTTPError as error:
            self._note(method, path, 0, began, error=type(error).__name__)
            return 0, {}, 0.0
        try:
            content = answer.json() if answer.content else {}
        except ValueError:
            content = {"text": answer.text[:200]}
        broken = {"body": content} if answer.status_code >= 500 else {}
        waits = answer.headers.get("retry-after")
        self._note(method, path, answer.status_code, began, retry_after=waits, **broken)
        return answer.status_code, content, float(waits or 0.0)

    def _note(self, method: str, path: str, status: int, began: float, **more: object) -> None:
        route = "/".join(path.split("?")[0].split("/")[:2])
        taken = round(time.monotonic() - began, 4)
        self.journal.note("answer", method=method, route=route, status=status, took=taken, **more)

    def pages(self, path: str) -> Iterator[Json]:
        """Yield the rows of a list of the platform's API."""
        cursor = ""
        glue = "&" if "?" in path else "?"
        while True:
            more = f"&cursor={cursor}" if cursor else ""
            page = self.ask("GET", f"{path}{glue}limit=100{more}")
            yield from page["data"]
            cursor = page["meta"]["cursor"]
            if not cursor:
                return
