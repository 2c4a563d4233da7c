"""A RabbitMQ server of the storm's own: started in its home, killed and emptied like the rest."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from kombu import Connection

from healthcloud.runtime.ports import free_port

QUEUES = ("control", "steps", "agents", "webhooks", "bulk")


class Rabbit:
    """RabbitMQ from the system's package, with everything it writes below a folder."""

    def __init__(self, home: Path) -> None:
        self.home = home / "rabbitmq"
        self.port = free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}//"
        places = {name: str(self.home / name.lower()) for name in ("MNESIA_BASE", "LOG_BASE")}
        self.environment = {
            **os.environ,
            "HOME": str(self.home),
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_NODENAME": "storm@localhost",
            "RABBITMQ_CONFIG_FILE": str(self.home / "rabbit.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            **{f"RABBITMQ_{name}": place for name, place in places.items()},
        }
        self.child: subprocess.Popen[bytes] | None = None

    @staticmethod
    def binary() -> Path | None:
        """Return the server's program; Debian's wrapper wants an account of its own."""
        found = sorted(Path("/usr/lib/rabbitmq/lib").glob("*/sbin/rabbitmq-server"))
        named = shutil.which("rabbitmq-server")
        return found[-1] if found else Path(named) if named else None

    def start(self, *, seconds: float = 180.0) -> None:
        """Start it and wait until it listens."""
        program = self.binary()
        if program is None:
            raise RuntimeError("No RabbitMQ here: apt-get install rabbitmq-server.")
        self.home.mkdir(parents=True, exist_ok=True)
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}", "loopback_users = none"]
        (self.home / "rabbit.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.home / "plugins").write_text("[].", encoding="utf-8")
        with (self.home / "out").open("ab") as log:
            self.child = subprocess.Popen(
                [str(program)],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + seconds
        while not self._listens():
            if self.child.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.home / "out").read_text("utf-8")[-2000:])
            time.sleep(0.3)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self) -> int:
        """Kill it with all that it started, and return its process id."""
        assert self.child is not None
        os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait(10)
        return self.child.pid

    def purge(self) -> int:
        """Throw away all messages; return how many there were."""
        gone = 0
        with Connection(self.url, connect_timeout=3) as connection:
            for queue in QUEUES:
                with contextlib.suppress(connection.channel_errors):
                    gone += connection.channel().queue_purge(queue)
        return gone

    def stop(self) -> None:
        """End it, and the port mapper that it started."""
        if self.child is not None and self.child.poll() is None:
            self.kill()
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                mine = f"HOME={self.home}".encode() in (entry / "environ").read_bytes().split(b"\0")
                if mine and (entry / "comm").read_text().strip() == "epmd":
                    os.kill(int(entry.name), signal.SIGKILL)
