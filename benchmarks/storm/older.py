"""Workers of an older commit beside those of this one, as in the middle of a rolling upgrade.

The commit is checked out beside the platform's data; its workers get the environment of the
platform's own, so both claim from one ledger. Who claimed what is written down by a trigger, for
which the older code is labelled in its sessions; nothing else of it is changed.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import psycopg

from benchmarks.storm.journal import Journal
from benchmarks.storm.platform import ROOT, Json

_LABEL = '"application_name": "healthcloud"'
_WATCH = """
CREATE TABLE public.storm_claim (work bigint, ref text, kind text, token bigint, version text);
CREATE FUNCTION public.storm_claimed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO storm_claim VALUES (
        new.id, new.ref, new.kind, new.token,
        CASE current_setting('application_name') WHEN 'older' THEN 'older' ELSE 'present' END);
    RETURN NULL;
END $$;
CREATE TRIGGER storm_claimed AFTER UPDATE ON public.ledger_duework FOR EACH ROW
 WHEN (old.token IS DISTINCT FROM new.token) EXECUTE FUNCTION public.storm_claimed();
"""
_CLAIMS = "SELECT version, count(*) FROM public.storm_claim GROUP BY version"
_RUNS = """
SELECT count(*), count(*) FILTER (WHERE versions = 2)
  FROM (SELECT ref, count(DISTINCT version) AS versions FROM public.storm_claim
         WHERE kind IN ('workflow.run', 'workflow.lane') GROUP BY ref) seen
"""


class OlderWorkers:
    """Celery workers of another commit, started again when they die."""

    def __init__(self, commit: str, home: Path, *, count: int = 1) -> None:
        self.commit = commit
        self.tree = home / "older"
        self.count = count
        self.log = home / "log" / "older.log"
        self.ending = threading.Event()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.thread = threading.Thread(target=self._keep, daemon=True)
        self.environment: dict[str, str] = {}

    def start(self, state: Json) -> None:
        """Check the commit out, note claims from now on, and start the workers."""
        _git("worktree", "add", "--detach", str(self.tree), self.commit)
        settings = self.tree / "healthcloud" / "settings.py"
        text = settings.read_text(encoding="utf-8")
        if _LABEL not in text:
            raise RuntimeError(f"{self.commit}: its sessions can't be labelled")
        settings.write_text(text.replace(_LABEL, _LABEL.replace("healthcloud", "older")), "utf-8")
        with psycopg.connect(state["database_admin_url"]) as connection:
            connection.execute(_WATCH)
        present = Path(f"/proc/{state['pids']['worker'][0]}/environ").read_bytes().decode()
        pairs = (pair.partition("=") for pair in present.split("\0") if pair)
        self.environment = {name: value for name, _, value in pairs}
        self.environment["PYTHONPATH"] = str(self.tree)
        self.thread.start()

    def pids(self) -> list[int]:
        """Return the workers that run."""
        return [worker.pid for worker in self.workers if worker.poll() is None]

    def stop(self) -> None:
        """Stop the workers and take the checkout away."""
        self.ending.set()
        if self.thread.is_alive():
            self.thread.join(timeout=10)
        for worker in self.workers:
            worker.terminate()
        for worker in self.workers:
            try:
                worker.wait(timeout=40)
            except subprocess.TimeoutExpired:
                worker.kill()
        if self.tree.exists():
            _git("worktree", "remove", "--force", str(self.tree))

    def note(self, journal: Journal, state: Json) -> None:
        """Write down how much each version claimed, and how many runs both worked on."""
        with psycopg.connect(state["database_admin_url"]) as connection:
            claims: dict[str, int] = dict(connection.execute(_CLAIMS).fetchall())
            row = connection.execute(_RUNS).fetchone()
        carried, both = row or (0, 0)
        journal.note("versions", older=self.commit, claims=claims, carried=carried, both=both)

    def _keep(self) -> None:
        while not self.ending.wait(0.2):
            self.workers = [worker for worker in self.workers if worker.poll() is None]
            while len(self.workers) < self.count:
                self.workers.append(self._begin(len(self.workers) + 1))

    def _begin(self, number: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "celery", "--app=healthcloud.celery", "worker"]
        options = [f"--hostname=older{number}@%h", "--concurrency=1", "--loglevel=WARNING"]
        queues = "--queues=control,steps,agents,webhooks,bulk"
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*command, *options, queues, "--without-mingle", "--without-gossip"],
                cwd=self.tree,
                env={**os.environ, **self.environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True)
