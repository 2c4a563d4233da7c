"""What an operation is: where it can be called, with what, and what it does.

https://hl7.org/fhir/R4/operationdefinition.html
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from fhir.documents import JsonObject, ParsedResource
from fhir.operations.parameters import Parameters
from healthcloud.actors import Actor
from healthcloud.api.principal import Principal
from healthcloud.errors import Forbidden

Level = Literal["system", "type", "instance"]

LEVELS: Final[tuple[Level, ...]] = ("system", "type", "instance")
HL7: Final = "http://hl7.org/fhir/OperationDefinition/"
GENERAL: Final = frozenset({"_format", "_pretty", "project_id", "environment"})
"""Parameters that every request may have."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back when it is not simply a resource with 200."""

    content: bytes | JsonObject | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation, inside `tenant_scope` (unless it opens its own).

    `body` is the resource that was sent where it is no Parameters; `raw` the bytes where the
    operation takes other media types than JSON. `address` is that of the call without its query.
    """

    level: Level
    parameters: Parameters
    principal: Principal
    now: datetime
    base: str
    address: str
    method: str = "POST"
    resource_type: str = ""
    id: str = ""
    body: ParsedResource | None = None
    raw: bytes = b""
    content_type: str = ""
    query: str = ""
    prefer: Mapping[str, str] = field(default_factory=dict)
    accept: str = ""
    is_archived: bool = False
    """Whether the project may only be read."""

    @property
    def actor(self) -> Actor:
        """Return who calls."""
        return self.principal.actor

    def can(self, scope: str) -> bool:
        """Tell whether the caller holds a scope such as `Observation:read`."""
        return self.principal.can(scope)

    def require(self, *scopes: str) -> None:
        """Raise Forbidden unless the caller holds all scopes."""
        for scope in scopes:
            if not self.can(scope):
                raise Forbidden(
                    f"This credential lacks the scope `{scope}`.",
                    details={"required_scope": scope},
                )


Run = Callable[[Call], Answer | JsonObject | bytes]


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation, as its file declares it.

    `types` limits type and instance level (empty: every resource type). `inputs` are all the
    parameters it takes; others are refused with 400. An operation that `affects_state` needs
    POST and the write scope of the type; others answer GET too and run in a read-only
    transaction. `scope` replaces the scope of the type, `fhir` on the system level: `Patient:read`.
    `bare` names the parameter that a body which is no Parameters stands for; with
    `keeps_parameters` a Parameters is the body too, as it may be that resource. `media` are further
    media types of the body, handed over unparsed in `raw`, and `answers` those of the answer
    besides JSON and XML (Call.accept has what is wanted). With `own_transaction` it opens
    `tenant_scope` itself; one that `starts_job` is called by GET too and writes the job. What
    `needs_whole` works later or apart from the request, where nothing narrows what it sees, and
    is refused to a caller whose scopes are narrowed, or from whom Consents hold something back,
    unless it `heeds_consents` there as well.
    """

    name: str
    run: Run
    levels: frozenset[Level]
    summary: str
    types: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()
    any_input: bool = False
    definition: str = ""
    affects_state: bool = False
    scope: str = ""
    bare: str = ""
    keeps_parameters: bool = False
    media: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    own_transaction: bool = False
    starts_job: bool = False
    needs_whole: bool = False
    heeds_consents: bool = False
    weight: int = 1

    @property
    def access(self) -> str:
        """Return the verb of the scope that the operation needs."""
        return "write" if self.affects_state else "read"

    @property
    def url(self) -> str:
        """Return the canonical address of the definition."""
        return self.definition or f"{HL7}Resource-{self.name}"

    def is_refused_to_a_part(self, *, narrowed: bool) -> bool:
        """Tell whether a caller who sees a part is refused; `narrowed` by scopes, not Consents."""
        return self.needs_whole and (narrowed or not self.heeds_consents)

    def serves(self, resource_type: str) -> bool:
        """Tell whether a type has this operation on type or instance level."""
        return bool(self.levels - {"system"}) and (not self.types or resource_type in self.types)
