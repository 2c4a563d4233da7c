"""What the simulated hub knows of each client: queue, deliveries, tokens, faults. In memory."""

import secrets
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

TOKEN_SECONDS = 300
SECRET = "sandbox-secret"  # noqa: S105  documented, and good for this simulator only
PREFIX = "sandbox-"


@dataclass(slots=True)
class Message:
    """A result that waits for its acknowledgement."""

    control_id: str
    text: str


@dataclass(slots=True)
class Account:
    """One client of the hub."""

    client_id: str
    waiting: dict[str, Message] = field(default_factory=dict)
    requests: dict[str, frozenset[str]] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    orders: list[str] = field(default_factory=list)
    deliveries: int = 0
    tokens_issued: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


class Accounts:
    """All clients; every method is safe to call from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[str, Account] = {}
        self._tokens: dict[str, tuple[str, float]] = {}

    def account(self, client_id: str) -> Account:
        """Return the account of a client, made when it is first seen."""
        with self._lock:
            return self._accounts.setdefault(client_id, Account(client_id))

    def reset(self, client_id: str) -> None:
        """Forget everything about a client."""
        with self._lock:
            self._accounts.pop(client_id, None)
            self._tokens = {k: v for k, v in self._tokens.items() if v[0] != client_id}

    def known(self, client_id: str, secret: str) -> bool:
        """Whether these are credentials of the sandbox."""
        right = secrets.compare_digest(secret.encode(), SECRET.encode())
        return client_id.startswith(PREFIX) and len(client_id) <= 120 and right

    def issue_token(self, client_id: str) -> str:
        """Return a new token."""
        token = secrets.token_urlsafe(32)
        account = self.account(client_id)
        with self._lock:
            self._tokens[token] = (client_id, time.monotonic() + TOKEN_SECONDS)
            account.tokens_issued += 1
        return token

    def client_of(self, token: str) -> str | None:
        """Return whose token this is, None when it is unknown or expired."""
        with self._lock:
            client_id, until = self._tokens.get(token, ("", 0.0))
        return client_id if until > time.monotonic() else None

    def expire_tokens(self, client_id: str) -> None:
        """Make all tokens of a client invalid."""
        with self._lock:
            self._tokens = {k: v for k, v in self._tokens.items() if v[0] != client_id}

    def enqueue(self, client_id: str, message: Message) -> None:
        """Let a result wait for a client; the same control id replaces the earlier text."""
        account = self.account(client_id)
        with self._lock:
            account.waiting[message.control_id] = message

    def deliver(self, client_id: str, maximum: int) -> tuple[str, list[Message]]:
        """Return a request id and the results that wait, the same again until acknowledged."""
        account = self.account(client_id)
        request_id = secrets.token_hex(12)
        with self._lock:
            messages = list(account.waiting.values())[:maximum]
            account.requests[request_id] = frozenset(item.control_id for item in messages)
            account.deliveries += len(messages)
        return request_id, messages

    def settle(
        self, client_id: str, request_id: str, acks: Iterable[tuple[str, str, str]]
    ) -> str | None:
        """Take acknowledgements (control id, code, reason); return what is wrong, or None."""
        account = self.account(client_id)
        with self._lock:
            delivered = account.requests.get(request_id)
            if delivered is None:
                return "unknown requestId"
            for control_id, code, reason in acks:
                if control_id not in delivered:
                    return f"controlId {control_id} was not delivered in this request"
                if account.waiting.pop(control_id, None) is None:
                    continue
                if code in ("CA", "AA"):
                    account.acknowledged.append(control_id)
                else:
                    account.rejected[control_id] = reason
        return None

    def add_fault(self, client_id: str, operation: str, fault: str, times: int) -> None:
        """Let the next calls of an operation fail."""
        account = self.account(client_id)
        with self._lock:
            account.faults.extend([(operation, fault)] * times)

    def next_fault(self, client_id: str, operation: str) -> str | None:
        """Return the fault that this call must show: a planned one, or the client id's own."""
        account = self.account(client_id)
        with self._lock:
            for planned in account.faults:
                if planned[0] == operation:
                    account.faults.remove(planned)
                    return planned[1]
        magic = client_id.removeprefix(f"{PREFIX}fault-")
        own = magic.partition(".")[0] if magic != client_id else None
        return own if own and operation == "getResults" else None
