"""What a check of the operation log came to."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Findings:
    """What is wrong, by the rule that it breaks; and figures."""

    broken: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    figures: dict[str, object] = field(default_factory=dict)

    def must(self, rule: str, holds: object, what: str) -> None:
        """Put down that a rule was looked at, and where it does not hold."""
        self.broken.setdefault(rule, [])
        if not holds:
            self.broken[rule].append(what)
