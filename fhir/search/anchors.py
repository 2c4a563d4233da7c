"""Criteria whose plan is fixed, whatever they ask for: each says by which index it finds rows.

A statement of such criteria is planned once, without a look at the values, and no estimate leads
it astray. A criterion is written twice: to gather the rows that meet it by an index, and to probe
a row that was found otherwise. `docs/decisions/0174`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fhir import hashes
from fhir.search.clause import Clause, all_of
from fhir.search.context import SearchContext
from fhir.search.criteria import condition
from fhir.search.params.reference import has_url, is_promoted, refers_by
from fhir.search.request import ChainCriterion, Criterion, HasCriterion, ParameterCriterion

Kind = Literal["row", "rows", "token", "filter"]
_STRINGS: Final = frozenset({"", "exact", "equals"})
_SIDE_ROWS: Final = "{alias}.pk IN (SELECT v.resource FROM fhir_string v WHERE "


@dataclass(frozen=True, slots=True)
class Way:
    """How a criterion is met.

    By its own rows (`row`: the ids or the patient that it names; `rows`: those that another search
    finds), by the index of tokens, or by looking at a row (`filter`).
    """

    kind: Kind
    gather: Clause
    probe: Clause


@dataclass(frozen=True, slots=True)
class Anchored:
    """A search whose plan is fixed: its rows gathered by an index, or probed one by one.

    `of_one_patient` says that all matches are of one patient, whose index has them by date.
    """

    gather: Clause
    probe: Clause
    of_one_patient: bool = False


def anchored(
    resource_type: str, criteria: Sequence[Criterion], alias: str, context: SearchContext
) -> Anchored | None:
    """Return the conditions on living rows of a type, None where a plan depends on the values."""
    ways = [way_of(criterion, alias, context) for criterion in criteria]
    known = [way for way in ways if way is not None]
    leading = _leading([way.kind for way in known])
    if len(known) < len(ways) or leading is None:
        return None
    parts = [way.gather if way.kind == leading else masked(way.probe) for way in known]
    of_type = context.of_type(alias, resource_type)
    limits = masked(of_type) if leading == "token" else of_type
    return Anchored(
        all_of([limits, *parts]),
        all_of([masked(way.probe) for way in known]),
        of_one_patient=any(way.gather.sql == f"{alias}.patient = %s::bigint" for way in known),
    )


def _leading(kinds: Sequence[Kind]) -> Kind | None:
    """Return the kind of criterion by which rows are found, None where the values decide that."""
    if "row" in kinds:
        return "row"
    if kinds.count("rows") == 1 and "token" not in kinds:
        return "rows"
    return "token" if "token" in kinds and "rows" not in kinds else None


def masked(clause: Clause) -> Clause:
    """Return a condition that no index is asked for."""
    return Clause(f"({clause.sql}) IS TRUE", clause.params)


def way_of(criterion: Criterion, alias: str, context: SearchContext) -> Way | None:
    """Return how a criterion is met, None where its plan depends on the values."""
    if isinstance(criterion, ChainCriterion):
        return _chain(criterion, alias, context)
    if isinstance(criterion, HasCriterion):
        return _has(criterion, alias, context)
    if isinstance(criterion, ParameterCriterion):
        return _parameter(criterion, alias, context)
    return None


def _parameter(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Way | None:
    clause = condition(criterion, alias, context)
    if clause.sql.startswith(f"{alias}.tokens "):
        return _same("token", clause)
    if clause.sql.startswith((f"{alias}.rid = ", f"{alias}.patient = ")):
        return _same("row", clause)
    if criterion.parameter.type == "string" and criterion.modifier in _STRINGS:
        return _string(clause, alias)
    is_plain = clause.sql.startswith(f"NOT ({alias}.tokens ") and "SELECT" not in clause.sql
    return _same("filter", clause) if is_plain else None


def _same(kind: Kind, clause: Clause) -> Way:
    return Way(kind, clause, clause)


def _string(clause: Clause, alias: str) -> Way | None:
    """Turn `pk IN (SELECT …)` into an array to gather by, and into a test of the row's own."""
    start = _SIDE_ROWS.format(alias=alias)
    if not clause.sql.startswith(start):
        return None
    rows = Clause(clause.sql.removeprefix(start).removesuffix(")"), clause.params)
    table = "SELECT v.resource FROM fhir_string v WHERE"
    gather = f"{alias}.pk = ANY(ARRAY({table} {rows.sql}))"
    probe = (
        f"(SELECT true FROM fhir_string v WHERE v.resource = {alias}.pk"
        f" AND ({rows.sql}) IS TRUE LIMIT 1)"
    )
    return Way("rows", Clause(gather, rows.params), Clause(probe, rows.params))


# --- other rows -----------------------------------------------------------------------------------


def _chain(criterion: ChainCriterion, alias: str, context: SearchContext) -> Way | None:
    if len(criterion.alternatives) != 1:
        return None
    [alternative] = criterion.alternatives
    target, parameter = alternative.resource_type, criterion.parameter
    ways = refers_by(criterion.resource_type, parameter)
    inner = context.fresh_alias()
    found = anchored(target, [alternative], inner, context)
    if found is None or ways != {"id"}:
        return None
    rows = f"FROM fhir_resource {inner} WHERE"
    of_type = context.of_type(inner, target)
    if target == "Patient" and is_promoted(criterion.resource_type, parameter):
        gather = f"{alias}.patient = ANY(ARRAY(SELECT {inner}.self {rows} {found.gather.sql}))"
        link = f"{inner}.self = {alias}.patient"
        probe = _leads(rows, link, of_type, found.probe)
        return Way("rows", Clause(gather, found.gather.params), probe)
    salt = hashes.param_salt(criterion.resource_type, parameter.code)
    gather = f"{alias}.tokens && ARRAY(SELECT {inner}.self # %s::bigint {rows} {found.gather.sql})"
    link = f"{inner}.self = ANY(ARRAY(SELECT t # %s::bigint FROM unnest({alias}.tokens) AS t))"
    probe = _leads(rows, link, of_type, found.probe, salt)
    return Way("token", Clause(gather, (salt, *found.gather.params)), probe)


def _has(criterion: HasCriterion, alias: str, context: SearchContext) -> Way | None:
    source, parameter, target = criterion.source_type, criterion.parameter, criterion.resource_type
    by_url = "url" in refers_by(source, parameter) and has_url(target)
    if target != "Patient" or not is_promoted(source, parameter) or by_url:
        return None
    inner = context.fresh_alias()
    found = anchored(source, [criterion.criterion], inner, context)
    if found is None:
        return None
    rows = f"FROM fhir_resource {inner} WHERE"
    gather = f"{alias}.self = ANY(ARRAY(SELECT {inner}.patient {rows} {found.gather.sql}))"
    of_type = context.of_type(inner, source)
    probe = _leads(rows, f"{inner}.patient = {alias}.self", of_type, found.probe)
    return Way("rows", Clause(gather, found.gather.params), probe)


def _leads(rows: str, link: str, of_type: Clause, probe: Clause, *values: object) -> Clause:
    """Return the condition that a row leads to one that meets a probe; null where it doesn't.

    The planner would turn EXISTS into a table of all rows that are meant, for each statement.
    """
    sql = f"(SELECT true {rows} {link} AND {of_type.sql} AND {probe.sql} LIMIT 1)"
    return Clause(sql, (*values, *of_type.params, *probe.params))
