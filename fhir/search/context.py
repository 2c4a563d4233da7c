"""What the compilation of one search knows: project, clock and fresh table aliases."""

from dataclasses import dataclass, field
from datetime import datetime

from fhir.definitions import type_number
from fhir.search.clause import Clause


@dataclass(slots=True)
class SearchContext:
    """Shared by all criteria of one search."""

    project: int
    now: datetime
    _aliases: int = field(default=0)

    def fresh_alias(self) -> str:
        """Return a table alias that this search has not used yet."""
        self._aliases += 1
        return f"r{self._aliases}"

    def of_type(self, alias: str, resource_type: str) -> Clause:
        """Return the condition that a row is a living resource of a type in this project."""
        return Clause(
            f"{alias}.project = %s::integer AND {alias}.rtype = %s::smallint"
            f" AND {alias}.content IS NOT NULL",
            (self.project, type_number(resource_type)),
        )

    def side_rows(
        self, alias: str, table: str, resource_type: str, param: int, condition: Clause
    ) -> Clause:
        """Return the condition that a row has a side row of a parameter that meets a condition."""
        return Clause(
            f"{alias}.pk IN (SELECT v.resource FROM fhir_{table} v WHERE v.project = %s::integer"
            f" AND v.rtype = %s::smallint AND v.param = %s::bigint AND {condition.sql})",
            (self.project, type_number(resource_type), param, *condition.params),
        )
