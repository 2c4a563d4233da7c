"""A large code system, its concepts in tables. Imported by `fhir.terminology.importing`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from django.db import DataError
from psycopg.errors import InvalidRegularExpression

from fhir.search.clause import Clause, all_of, any_of, negate
from fhir.sql import Row, fetch
from fhir.terminology.concepts import Concept, Property, read_designations
from fhir.terminology.errors import NotComputable, TooCostly
from fhir.terminology.filters import CODE, HIERARCHICAL, Filter
from fhir.terminology.regex import compile_safe
from fhir.terminology.system import Selection

_COLUMNS: Final = "c.code, c.display, c.more"
_BELOW: Final = (
    "WITH RECURSIVE below(code) AS (SELECT e.child FROM fhir_concept_edge e"
    " WHERE e.system = %s::integer AND e.parent = %s::text"
    " UNION SELECT e.child FROM fhir_concept_edge e JOIN below b ON e.parent = b.code"
    " WHERE e.system = %s::integer) SELECT code FROM below"
)
_ABOVE: Final = (
    "WITH RECURSIVE above(code) AS (SELECT e.parent FROM fhir_concept_edge e"
    " WHERE e.system = %s::integer AND e.child = %s::text"
    " UNION SELECT e.parent FROM fhir_concept_edge e JOIN above a ON e.child = a.code"
    " WHERE e.system = %s::integer) SELECT code FROM above"
)
_CHILDREN: Final = (
    "SELECT e.child FROM fhir_concept_edge e"
    " WHERE e.system = %s::integer AND e.parent = %s::text ORDER BY e.child"
)
_SYSTEMS: Final = (
    "SELECT pk, url, version, name, value_set, concepts FROM fhir_code_system"
    " WHERE url = %s::text AND ready"
)


@dataclass(frozen=True, slots=True)
class TableSystem:
    """An imported code system of the active tenant."""

    pk: int
    url: str
    version: str
    name: str
    value_set: str
    concepts: int
    content: str = "complete"

    def find(self, code: str) -> Concept | None:
        """Return a concept by its code, with its parents."""
        found = self.select(Selection(codes=(code,)), offset=0, limit=1)
        return found[0] if found else None

    def select(self, wanted: Selection, *, offset: int, limit: int) -> Sequence[Concept]:
        """Return concepts in the order of the release."""
        where = self._where(wanted)
        rows = _filtered(
            f"SELECT {_COLUMNS} FROM fhir_concept c WHERE {where.sql}"
            " ORDER BY c.ordinal OFFSET %s::integer LIMIT %s::integer",
            [*where.params, offset, limit],
        )
        return [_concept(row) for row in rows]

    def count(self, wanted: Selection) -> int:
        """Return how many concepts a selection has."""
        if wanted == Selection():
            return self.concepts
        where = self._where(wanted)
        rows = _filtered(f"SELECT count(*) FROM fhir_concept c WHERE {where.sql}", where.params)
        return int(rows[0][0])

    def ancestors(self, code: str) -> frozenset[str]:
        """Return the codes above a code."""
        rows = fetch(_ABOVE, (self.pk, code, self.pk))
        return frozenset(row[0].decode() for row in rows) - {code}

    def descendants(self, code: str, *, limit: int) -> frozenset[str]:
        """Return the codes below a code."""
        rows = fetch(_BELOW + " LIMIT %s::integer", (self.pk, code, self.pk, limit + 1))
        if len(rows) > limit:
            raise TooCostly(f"`{code}` has more than {limit} codes below it.", param="code")
        return frozenset(row[0].decode() for row in rows) - {code}

    def children(self, code: str) -> Sequence[str]:
        """Return the codes directly below a code."""
        return [row[0].decode() for row in fetch(_CHILDREN, (self.pk, code))]

    def _where(self, wanted: Selection) -> Clause:
        parts = [Clause("c.system = %s::integer", (self.pk,))]
        if wanted.codes is not None:
            parts.append(Clause("c.code = ANY(%b::text[])", (list(wanted.codes),)))
        if wanted.active_only:
            parts.append(Clause("NOT c.inactive"))
        if wanted.selectable_only:
            parts.append(Clause("NOT c.abstract"))
        parts += [Clause("c.folded LIKE %s::text", (f"% {_like(w)}%",)) for w in wanted.words]
        parts += [self._filter(rule) for rule in wanted.filters]
        return all_of(parts)

    def _filter(self, rule: Filter) -> Clause:
        if rule.op in HIERARCHICAL:
            return self._hierarchy(rule)
        if rule.op == "exists":
            present = self._property(rule.name, Clause("true"))
            return present if rule.value == "true" else negate(present)
        if rule.op == "regex":
            compile_safe(rule.value)
            return self._property(rule.name, Clause("{0} ~ %s::text", (f"^(?:{rule.value})$",)))
        options = rule.options if rule.op in {"in", "not-in"} else (rule.value,)
        found = self._property(rule.name, Clause("{0} = ANY(%b::text[])", (list(options),)))
        return negate(found) if rule.op == "not-in" else found

    def _property(self, name: str, test: Clause) -> Clause:
        """Return the condition that a value of a property passes a test on `{0}`."""
        lowered = name.lower()
        if lowered in CODE or lowered == "display":
            column = "c.display" if lowered == "display" else "c.code"
            return Clause(test.sql.format(column), test.params)
        if lowered == "inactive":
            return Clause(test.sql.format("c.inactive::text"), test.params)
        if lowered in {"parent", "child"}:
            own, other = ("child", "parent") if lowered == "parent" else ("parent", "child")
            return Clause(
                f"EXISTS (SELECT FROM fhir_concept_edge e WHERE e.system = c.system"
                f" AND e.{own} = c.code AND {test.sql.format('e.' + other)})",
                test.params,
            )
        return Clause(
            "c.code IN (SELECT p.code FROM fhir_concept_property p WHERE p.system = %s::integer"
            f" AND p.property = %s::text AND {test.sql.format('p.value')})",
            (self.pk, lowered, *test.params),
        )

    def _hierarchy(self, rule: Filter) -> Clause:
        own = Clause("c.code = %s::text", (rule.value,))
        walk = _ABOVE if rule.op == "generalizes" else _BELOW
        reached = Clause(f"c.code IN ({walk})", (self.pk, rule.value, self.pk))
        match rule.op:
            case "descendent-of":
                return all_of([reached, negate(own)])
            case "is-not-a":
                return negate(any_of([reached, own]))
            case "child-of":
                return self._property("parent", Clause("{0} = %s::text", (rule.value,)))
            case "descendent-leaf":
                leaf = negate(self._property("child", Clause("true")))
                return all_of([reached, leaf])
        return any_of([reached, own])


def find_tables(url: str) -> list[TableSystem]:
    """Return every imported version of a code system."""
    return [
        TableSystem(pk, own.decode(), version.decode(), name.decode(), value_set.decode(), concepts)
        for pk, own, version, name, value_set, concepts in fetch(_SYSTEMS, (url,))
    ]


def _filtered(sql: str, params: Sequence[object]) -> list[Row]:
    """Return the rows of a selection; raise NotComputable for what PostgreSQL has no regex of."""
    try:
        return fetch(sql, params, prepare=False)
    except DataError as error:
        if not isinstance(error.__cause__, InvalidRegularExpression):
            raise
        raise NotComputable(
            f"A regex filter can't be evaluated: {error.__cause__.diag.message_primary}. Write it"
            " with classes, groups and short repeats.",
            param="filter",
        ) from None


def _concept(row: Row) -> Concept:
    code, display, more = row
    known: dict[str, Any] = orjson.loads(more) if more else {}
    return Concept(
        code=code.decode(),
        display=display.decode(),
        parents=tuple(known.get("parents", ())),
        designations=read_designations(known.get("designations", ())),
        properties=tuple(Property(*entry) for entry in known.get("properties", ())),
    )


def _like(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
