"""Refusals of the clinical store; the API renders each as an OperationOutcome.

HealthCloudError
├── BadRequest          MalformedJson, ResourceMismatch, SearchRefused, InvalidBundle
├── NotFound            ResourceNotFound ── ResourceGone (410), UnknownResourceType, NothingMatches
├── Conflict            VersionConflict, IdTaken
├── PreconditionFailed  VersionMismatch, MultipleMatches
├── ValidationFailed    InvalidResource
├── PayloadTooLarge     BundleTooLarge
└── HealthCloudError    NotSupported (501)
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from healthcloud.errors import (
    BadRequest,
    Conflict,
    HealthCloudError,
    NotFound,
    PayloadTooLarge,
    PreconditionFailed,
    ValidationFailed,
)


class ResourceNotFound(NotFound):
    """No resource of this type has this id here."""

    issue_code: ClassVar[str] = "not-found"

    def __init__(self, resource_type: str, rid: str, version: str = "") -> None:
        name = f"{resource_type}/{rid}" + (f"/_history/{version}" if version else "")
        super().__init__(f"There is no {name}.", param="id")


class ResourceGone(NotFound):
    """The resource was deleted; its history is kept."""

    status = 410
    issue_code: ClassVar[str] = "deleted"

    def __init__(self, resource_type: str, rid: str, version: int) -> None:
        super().__init__(
            f"{resource_type}/{rid} was deleted; GET {resource_type}/{rid}/_history shows it."
        )
        self.version = version


class NothingMatches(NotFound):
    """The condition matches no resource."""

    issue_code: ClassVar[str] = "not-found"


class UnknownResourceType(NotFound):
    """R4 has no such resource type."""

    issue_code: ClassVar[str] = "not-supported"

    def __init__(self, name: str) -> None:
        super().__init__(f"`{name[:80]}` is not a FHIR R4 resource type.", param="resourceType")


class ResourceMismatch(BadRequest):
    """Type or id of the body differ from those of the address."""

    issue_code: ClassVar[str] = "invalid"


class InvalidBundle(BadRequest):
    """The Bundle breaks a rule of batches and transactions."""

    issue_code: ClassVar[str] = "invalid"


class BundleTooLarge(PayloadTooLarge):
    """The Bundle has more entries than one request may have."""

    issue_code: ClassVar[str] = "too-costly"


class VersionConflict(Conflict):
    """Somebody else wrote the resource at the same time, again and again."""

    issue_code: ClassVar[str] = "conflict"


class IdTaken(Conflict):
    """Nothing matches the condition, and the id in the body is that of another resource."""

    issue_code: ClassVar[str] = "conflict"


class VersionMismatch(PreconditionFailed):
    """The version in If-Match is not the current one."""

    issue_code: ClassVar[str] = "conflict"


class MultipleMatches(PreconditionFailed):
    """The condition matches several resources."""

    issue_code: ClassVar[str] = "multiple-matches"


class InvalidResource(ValidationFailed):
    """The resource breaks R4's rules; `details` are the issues of the OperationOutcome."""

    issue_code: ClassVar[str] = "invalid"

    def __init__(self, resource_type: str, issues: Sequence[Mapping[str, object]]) -> None:
        self.issues = issues
        first = issues[0]
        expression = first.get("expression") or [resource_type]
        where = expression[0] if isinstance(expression, list) else expression
        super().__init__(
            f"{resource_type} is not valid R4: {first.get('diagnostics')}",
            param=str(where),
            details=list(issues),
        )


class NotSupported(HealthCloudError):
    """R4 defines this, and this server does not do it yet."""

    code = "not_supported"
    status = 501
    issue_code: ClassVar[str] = "not-supported"
