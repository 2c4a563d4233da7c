"""What terminology refuses.

HealthCloudError
├── NotFound          UnknownCanonical, UnknownCode
├── ValidationFailed  TooCostly, NotComputable
"""

from typing import ClassVar

from healthcloud.errors import NotFound, ValidationFailed


class UnknownCanonical(NotFound):
    """No code system, value set or concept map of this url (and version) is here."""

    issue_code: ClassVar[str] = "not-found"

    def __init__(self, kind: str, url: str, version: str = "", *, hint: str = "") -> None:
        name = f"{url[:300]}|{version[:100]}" if version else url[:300]
        remedy = hint or f"Store the {kind} with this url, or import it."
        super().__init__(f"The {kind} `{name}` is not known here. {remedy}", param="url")
        self.kind, self.url, self.version = kind, url, version


class UnknownCode(NotFound):
    """The code system has no such code."""

    issue_code: ClassVar[str] = "not-found"

    def __init__(self, system: str, code: str) -> None:
        super().__init__(f"The code `{code[:200]}` is not in `{system[:300]}`.", param="code")


class TooCostly(ValidationFailed):
    """The answer would be too large, or take too long."""

    issue_code: ClassVar[str] = "too-costly"


class NotComputable(ValidationFailed):
    """The value set or concept map says something that can't be evaluated."""

    issue_code: ClassVar[str] = "invalid"
