"""What a Subscription asks for, read from the resource and checked before it is stored.

https://hl7.org/fhir/R4/subscription.html
https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/StructureDefinition-backport-subscription.html
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Self

import orjson

from fhir.definitions import is_resource_type, search_parameter
from fhir.documents import JsonObject
from fhir.errors import InvalidResource
from fhir.instants import date_range
from fhir.search.parser import parse
from fhir.search.request import SearchRequest
from fhir.subscriptions.topics import WRITES, Trigger, find_topic
from healthcloud.errors import HealthCloudError

_BACKPORT: Final = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-"
_JSON: Final = frozenset({"application/fhir+json", "application/json"})
_CONTENTS: Final = frozenset({"empty", "id-only", "full-resource"})
_UNWATCHED: Final = frozenset({"Subscription", "AuditEvent"})
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}):[ \t]*([\x20-\x7e]{0,6000})")
_OUR_HEADERS: Final = ("host", "content-", "transfer-", "connection", "webhook-", "user-agent")
_LONGEST: Final = 86400 * 31


@dataclass(frozen=True, slots=True)
class Definition:
    """Criteria and channel of a Subscription.

    `criteria` is a query (`Observation?code=…`) or the canonical URL of a topic, narrowed by
    `filters`. `content` is empty for R4's own notifications, else how much of a resource the
    backport's notifications carry. Periods are in seconds.
    """

    criteria: str
    filters: tuple[str, ...]
    kind: str
    endpoint: str
    payload: str
    headers: tuple[str, ...]
    content: str
    heartbeat: int
    timeout: int
    max_count: int
    end: str

    def as_text(self) -> str:
        """Return the JSON text that is kept."""
        return orjson.dumps(asdict(self), option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def from_text(cls, text: bytes | str) -> Self:
        """Return what was kept."""
        data = orjson.loads(text)
        return cls(**{**data, "filters": tuple(data["filters"]), "headers": tuple(data["headers"])})

    @property
    def is_backport(self) -> bool:
        """Whether notifications are Bundles of the backport."""
        return bool(self.content)

    @property
    def ends_at(self) -> datetime | None:
        """Return when the subscription ends."""
        return date_range(self.end)[0] if self.end else None

    @property
    def topic(self) -> str:
        """Return the topic's canonical URL; for a query the query itself."""
        return self.criteria

    def header_pairs(self) -> dict[str, str]:
        """Return the headers that the subscriber wants to be sent."""
        found = (_HEADER.fullmatch(header) for header in self.headers)
        return {match[1].lower(): match[2].strip() for match in found if match}


@dataclass(frozen=True, slots=True)
class Rule:
    """A trigger with its criteria and the subscription's filters parsed."""

    resource_type: str
    interactions: tuple[str, ...]
    current: tuple[SearchRequest, ...]
    previous: SearchRequest | None


class InvalidSubscription(InvalidResource):
    """The Subscription asks for something that can't be done."""

    def __init__(self, expression: str, diagnostics: str, code: str = "invalid") -> None:
        issue = {
            "severity": "error",
            "code": code,
            "diagnostics": diagnostics,
            "expression": [expression],
        }
        super().__init__("Subscription", [issue])


def read_definition(resource: JsonObject) -> Definition:
    """Return what a valid Subscription asks for; raise InvalidSubscription."""
    channel: JsonObject = resource["channel"]
    criteria = str(resource["criteria"])
    options = dict(_options(channel))
    content = _content(resource, criteria)
    definition = Definition(
        criteria=criteria,
        filters=tuple(_filters(resource)),
        kind=_kind(channel),
        endpoint=_endpoint(channel),
        payload=_payload(channel),
        headers=tuple(_headers(channel)),
        content=content,
        heartbeat=_period(options, "heartbeat-period"),
        timeout=min(_period(options, "timeout"), 60),
        max_count=min(_period(options, "max-count"), 1000),
        end=str(resource.get("end") or ""),
    )
    rules(definition)
    return definition


def rules(definition: Definition) -> tuple[Rule, ...]:
    """Return the compiled rules of a definition; raise InvalidSubscription."""
    return _rules(definition.criteria, definition.filters)


@lru_cache(maxsize=1024)
def _rules(criteria: str, filters: tuple[str, ...]) -> tuple[Rule, ...]:
    triggers = _triggers(criteria)
    narrowing = [_split(filter_, _FILTERS) for filter_ in filters]
    known = {trigger.resource_type for trigger in triggers}
    for resource_type, _ in narrowing:
        if resource_type not in known:
            raise InvalidSubscription(
                _FILTERS, f"The criteria are about {', '.join(sorted(known))}: filter that."
            )
    return tuple(
        Rule(
            trigger.resource_type,
            trigger.interactions,
            tuple(
                _parsed(trigger.resource_type, query, where)
                for where, query in [
                    ("Subscription.criteria", trigger.current),
                    *((_FILTERS, q) for name, q in narrowing if name == trigger.resource_type),
                ]
                if query
            ),
            _parsed(trigger.resource_type, trigger.previous, "Subscription.criteria")
            if trigger.previous
            else None,
        )
        for trigger in triggers
    )


_FILTERS: Final = "Subscription.criteria.extension"


def _triggers(criteria: str) -> tuple[Trigger, ...]:
    if "://" in criteria.partition("?")[0]:
        topic = find_topic(criteria)
        if topic is None:
            raise InvalidSubscription(
                "Subscription.criteria",
                "There is no such topic: GET /v1/fhir/SubscriptionTopic lists them.",
                "not-supported",
            )
        return topic.triggers
    resource_type, query = _split(criteria, "Subscription.criteria")
    return (Trigger(resource_type, WRITES, query),)


def _split(criteria: str, where: str) -> tuple[str, str]:
    resource_type, _, query = criteria.partition("?")
    resource_type = resource_type.strip().removeprefix("/")
    if not is_resource_type(resource_type):
        raise InvalidSubscription(where, "Write a search of one type: `Observation?code=1234-5`.")
    if resource_type in _UNWATCHED:
        raise InvalidSubscription(where, f"{resource_type} can't be subscribed to.")
    return resource_type, query.strip()


def _parsed(resource_type: str, query: str, where: str) -> SearchRequest:
    try:
        # What R4 defines: rules are kept by their text, for all tenants.
        request = parse(resource_type, query, strict=True, lookup=search_parameter)
        check_criteria(request)
    except HealthCloudError as error:
        raise InvalidSubscription(where, error.message, "invalid") from error
    shows = request.includes or request.revincludes or request.sort or request.cursor
    if shows or request.contained:
        raise InvalidSubscription(where, "Criteria filter only; leave out includes and sorting.")
    return request


def check_criteria(request: SearchRequest) -> None:
    """Raise SearchRefused for values that only the compilation to SQL reads."""
    from fhir.search.judging import compiled  # it needs the search, which needs Django

    compiled(request, project=0, now=datetime(2000, 1, 1, tzinfo=UTC))


def _content(resource: JsonObject, criteria: str) -> str:
    payload = resource["channel"].get("_payload") or {}
    for extension in payload.get("extension", ()):
        if extension.get("url") == _BACKPORT + "payload-content":
            value = str(extension.get("valueCode"))
            if value not in _CONTENTS:
                raise InvalidSubscription(
                    "Subscription.channel.payload.extension",
                    f"The payload content is one of {', '.join(sorted(_CONTENTS))}.",
                    "code-invalid",
                )
            return value
    return "id-only" if "://" in criteria.partition("?")[0] else ""


def _filters(resource: JsonObject) -> Iterator[str]:
    for extension in (resource.get("_criteria") or {}).get("extension", ()):
        if extension.get("url") == _BACKPORT + "filter-criteria":
            yield str(extension.get("valueString") or "")


def _options(channel: JsonObject) -> Iterator[tuple[str, int]]:
    for extension in channel.get("extension", ()):
        name = str(extension.get("url", "")).removeprefix(_BACKPORT)
        value = extension.get("valueUnsignedInt", extension.get("valuePositiveInt"))
        if isinstance(value, int):
            yield name, value


def _period(options: Mapping[str, int], name: str) -> int:
    value = options.get(name, 0)
    if not 0 <= value <= _LONGEST:
        raise InvalidSubscription(
            "Subscription.channel.extension", f"`{name}` is at most {_LONGEST}."
        )
    return value


def _kind(channel: Mapping[str, Any]) -> str:
    kind = str(channel["type"])
    if kind not in {"rest-hook", "websocket"}:
        raise InvalidSubscription(
            "Subscription.channel.type",
            f"This server has the channels rest-hook and websocket, not {kind}.",
            "not-supported",
        )
    return kind


def _endpoint(channel: Mapping[str, Any]) -> str:
    endpoint = str(channel.get("endpoint") or "")
    if channel["type"] == "rest-hook" and not endpoint:
        raise InvalidSubscription(
            "Subscription.channel.endpoint", "A rest-hook needs the endpoint to call.", "required"
        )
    return endpoint


def _payload(channel: Mapping[str, Any]) -> str:
    payload = str(channel.get("payload") or "")
    if payload and payload.partition(";")[0].strip() not in _JSON:
        raise InvalidSubscription(
            "Subscription.channel.payload",
            "Notifications are sent as application/fhir+json.",
            "not-supported",
        )
    return payload


def _headers(channel: Mapping[str, Any]) -> Iterator[str]:
    for header in channel.get("header", ()):
        match = _HEADER.fullmatch(str(header))
        if match is None or match[1].lower().startswith(_OUR_HEADERS):
            raise InvalidSubscription(
                "Subscription.channel.header",
                "Write headers as `Name: value`; those of the connection and content are set here.",
            )
        yield str(header)
