"""The API call behind a button, shown beside it, so that whoever clicks learns the API."""

import json
from dataclasses import dataclass
from urllib.parse import quote

from django.conf import settings


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request of the platform's API; `body` None means a request without one."""

    method: str
    path: str
    body: dict[str, object] | None = None

    @property
    def curl(self) -> str:
        """The request for a shell; the key stands in an environment variable."""
        parts = [f"curl -X {self.method} '{settings.BASE_URL}{quote(self.path, safe='/?=&*.:,')}'"]
        parts.append('  -H "Authorization: Bearer $HEALTHCLOUD_API_KEY"')
        if self.body is not None:
            text = json.dumps(self.body, ensure_ascii=False).replace("'", "'\\''")
            parts.append("  -H 'Content-Type: application/json'")
            parts.append(f"  -d '{text}'")
        return " \\\n".join(parts)
