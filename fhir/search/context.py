"""What the compilation of one search knows: project, clock and fresh table aliases."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from fhir import hashes
from fhir.definitions import type_number
from fhir.search.clause import Clause, array
from fhir.search.parts import parts_of
from fhir.search.request import ParameterCriterion


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
        self, alias: str, table: str, resource_type: str, params: Sequence[int], condition: Clause
    ) -> Clause:
        """Return the condition that a row has a side row of a parameter that meets a condition."""
        one = len(params) == 1
        test = "= %s::bigint" if one else "= ANY(%s::bigint[])"
        return Clause(
            f"{alias}.pk IN (SELECT v.resource FROM fhir_{table} v WHERE v.project = %s::integer"
            f" AND v.rtype = %s::smallint AND v.param {test} AND ({condition.sql}))",
            (
                *(self.project, type_number(resource_type)),
                *(params[0] if one else array(params), *condition.params),
            ),
        )

    def joined_rows(
        self, alias: str, table: str, criterion: ParameterCriterion, values: Clause, match: str
    ) -> Clause:
        """Return the condition that a side row meets one of many values, each found by the index.

        `values` is a row source named `w`, `match` the condition on it and the side row `v`.
        """
        params = salts(criterion.resource_type, criterion.parameter.code)
        return Clause(
            f"{alias}.pk = ANY(ARRAY(SELECT f.resource FROM {values.sql}"
            f" CROSS JOIN LATERAL (SELECT v.resource FROM fhir_{table} v"
            f" WHERE v.project = %s::integer AND v.rtype = %s::smallint"
            f" AND v.param = ANY(%s::bigint[]) AND {match} OFFSET 0) AS f))",
            (
                *values.params,
                *(self.project, type_number(criterion.resource_type), array(params)),
            ),
        )

    def parameter_rows(
        self, alias: str, table: str, criterion: ParameterCriterion, condition: Clause
    ) -> Clause:
        """Return the condition that a row has a side row of the criterion's parameter."""
        params = salts(criterion.resource_type, criterion.parameter.code)
        return self.side_rows(alias, table, criterion.resource_type, params, condition)


def salts(resource_type: str, code: str, suffix: str = "") -> list[int]:
    """Return the numbers under which a parameter is indexed: several where it has parts."""
    return [
        hashes.param_salt(resource_type, part + suffix) for part in parts_of(resource_type, code)
    ]
