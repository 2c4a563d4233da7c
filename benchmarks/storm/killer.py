"""What goes wrong: processes killed, paused, stopped, caches flushed, at random by a seed."""

import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import psycopg
import redis

from benchmarks.storm.journal import Journal
from benchmarks.storm.older import OlderWorkers
from benchmarks.storm.platform import Json, Platform
from benchmarks.storm.rabbit import Rabbit

WEIGHTS = {
    "web": 5,
    "worker": 6,
    "worker_child": 5,
    "workers_all": 2,
    "scheduler": 3,
    "cache": 3,
    "flush": 3,
    "database": 2,
    "backend": 2,
    "terminate": 4,
    "pause_worker": 3,
    "pause_web": 2,
    "pause_database": 1,
    "supervisor": 1,
    "down": 1,
    "simulators": 1,
}


class Killer:
    """Does one of the above every few seconds until it has done as many as it was asked for."""

    def __init__(
        self,
        platform: Platform,
        journal: Journal,
        *,
        kills: int,
        pause: float,
        seed: int,
        only: str = "",
        rabbit: Rabbit | None = None,
        older: OlderWorkers | None = None,
    ) -> None:
        self.platform = platform
        self.journal = journal
        self.kills = kills
        self.pause = pause
        self.chance = random.Random(seed)
        self.rabbit = rabbit
        self.older = older
        known = WEIGHTS | ({"broker": 3, "purge": 3} if rabbit is not None else {})
        known |= {"older": 6, "older_child": 5} if older is not None else {}
        self.weights = {k: v for k, v in known.items() if not only or k in only.split(",")}
        self.lease = float(platform.environment["HEALTHCLOUD_LEASE_SECONDS"])

    def run(self) -> None:
        """Kill until done."""
        names, weights = list(self.weights), list(self.weights.values())
        done = 0
        while done < self.kills:
            time.sleep(self.pause * self.chance.uniform(0.3, 1.7))
            what = self.chance.choices(names, weights)[0]
            try:
                done += self.strike(what)
            except (OSError, psycopg.Error, redis.RedisError, KeyError, IndexError) as error:
                self.journal.note("missed", what=what, error=type(error).__name__)

    def strike(self, what: str) -> int:
        """Do one of them; return how many processes it hit."""
        state = self.platform.state
        if what in {"supervisor", "down"}:
            return self._all(state, what)
        if what.startswith("pause_"):
            return self._pause(what, self.chance.choice(state["pids"][what.removeprefix("pause_")]))
        match what:
            case "flush":
                redis.Redis.from_url(state["valkey_url"], socket_timeout=2).flushall()
                self.journal.note("kill", what=what)
                return 1
            case "broker" | "purge":
                return self._broker(what)
            case "backend" | "terminate":
                return self._backend(state, what)
            case "worker_child" | "older" | "older_child":
                return self._worker(state, what)
            case "workers_all":
                return sum([self._kill(what, pid) for pid in state["pids"]["worker"]])
            case _:
                return self._kill(what, self.chance.choice(state["pids"][what]))

    def _kill(self, what: str, pid: int) -> int:
        os.kill(pid, signal.SIGKILL)
        self.journal.note("kill", what=what, pid=pid)
        return 1

    def _all(self, state: Json, what: str) -> int:
        """Kill the supervisor, with which all ends, or ask it to stop; then start again."""
        if what == "supervisor":
            self._kill(what, state["supervisor"])
        else:
            self.journal.note("kill", what=what)
            self.platform.stop()
        self.platform.start()
        self.journal.note("back", what=what)
        return 1

    def _worker(self, state: Json, what: str) -> int:
        """Kill a worker of the older commit, or the process in which a worker works."""
        pids = self.older.pids() if self.older and what != "worker_child" else None
        parent = self.chance.choice(state["pids"]["worker"] if pids is None else pids)
        victim = parent if what == "older" else self.chance.choice(_children(parent))
        return self._kill(what, victim)

    def _broker(self, what: str) -> int:
        """Kill RabbitMQ and start it again, or throw all its messages away."""
        assert self.rabbit is not None
        if what == "purge":
            self.journal.note("kill", what=what, messages=self.rabbit.purge())
            return 1
        self.journal.note("kill", what=what, pid=self.rabbit.kill())
        threading.Thread(target=self.rabbit.start, daemon=True).start()
        return 1

    def _backend(self, state: Json, what: str) -> int:
        """End one session of the database, politely or with SIGKILL (all sessions then crash)."""
        with psycopg.connect(state["database_admin_url"], autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid()"
            ).fetchall()
            pid = self.chance.choice(rows)[0]
            if what == "terminate":
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])
                self.journal.note("kill", what=what, pid=pid)
                return 1
        return self._kill(what, pid)

    def _pause(self, what: str, pid: int) -> int:
        """Stop a process with its children until a lease is over, then wake it."""
        pids = [pid, *_children(pid)]
        for each in pids:
            os.kill(each, signal.SIGSTOP)
        self.journal.note("kill", what=what, pid=pid)

        def wake() -> None:
            for each in pids:
                try:
                    os.kill(each, signal.SIGCONT)
                except ProcessLookupError:
                    continue
            self.journal.note("woken", pid=pid)

        threading.Timer(self.lease * 1.6, wake).start()
        return 1


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if listed.exists():
        return [int(child) for child in listed.read_text().split()]
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]
