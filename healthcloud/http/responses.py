"""The answer to an outbound request, read to its end."""

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import orjson

from healthcloud.http.errors import MalformedResponse, UnexpectedStatus

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, read to its end. Header names match in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    host: str
    elapsed_ms: int

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as UTF-8, undecodable bytes replaced."""
        return self.content.decode("utf-8", "replace")

    @property
    def retry_after(self) -> float | None:
        """Seconds the other side asks us to wait, from either form of Retry-After."""
        return parse_retry_after(self.headers.get("retry-after"))

    def json(self) -> Json:
        """Return the parsed body; MalformedResponse when it isn't JSON."""
        try:
            parsed: Json = orjson.loads(self.content)
        except orjson.JSONDecodeError as error:
            raise MalformedResponse(f"{self.host} answered with something that is not JSON.") from (
                error
            )
        return parsed

    def raise_for_status(self) -> "Response":
        """Return self for 2xx, raise UnexpectedStatus otherwise."""
        if not self.ok:
            raise UnexpectedStatus(self.status, self.host, self.retry_after)
        return self


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for; None when absent or unreadable."""
    if not value:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, moment.timestamp() - time.time())
