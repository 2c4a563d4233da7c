"""Criteria whose plan is fixed, whatever they ask for: each says by which index it finds rows.

A statement of such criteria is planned once, without a look at the values, and no estimate leads
it astray. A criterion is written twice: to gather the rows that meet it by an index, and to probe
a row that was found otherwise. `docs/decisions/0174`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

from fhir import hashes
from fhir.index_rows import microseconds
from fhir.search.clause import Clause, all_of
from fhir.search.context import SearchContext, salts
from fhir.search.criteria import condition
from fhir.search.params.date import parse_range
from fhir.search.params.reference import has_url, is_promoted, refers_by
from fhir.search.request import ChainCriterion, Criterion, HasCriterion, ParameterCriterion

Kind = Literal["row", "narrow", "rows", "token", "filter", "tested"]
_MEASURED: Final = frozenset({"number", "quantity"})
_STRINGS: Final = frozenset({"", "exact", "equals"})
_SIDE_ROWS: Final = "{alias}.pk IN (SELECT v.resource FROM fhir_{table} v WHERE "
_NARROW: Final = timedelta(days=31)


@dataclass(frozen=True, slots=True)
class Way:
    """How a criterion is met.

    By its own rows (`row`: the ids or the patient that it names; `narrow`: those of some days;
    `rows`: those that another search finds), by the index of tokens, by looking at a row
    (`filter`), or at others for it (`tested`), which is done for few rows only.
    """

    kind: Kind
    gather: Clause
    probe: Clause


@dataclass(frozen=True, slots=True)
class Anchored:
    """A search whose plan is fixed: its rows gathered by an index, or probed one by one.

    `of_one_patient` says that all matches are of one patient, whose index has them by date. Where
    it `is_loose`, only the probe is fixed: how rows are gathered is planned for the values.
    """

    gather: Clause
    probe: Clause
    of_one_patient: bool = False
    is_loose: bool = False


def anchored(
    resource_type: str, criteria: Sequence[Criterion], alias: str, context: SearchContext
) -> Anchored | None:
    """Return the conditions on living rows of a type, None where a plan depends on the values."""
    ways = [way_of(criterion, alias, context) for criterion in criteria]
    known = [way for way in ways if way is not None]
    if len(known) < len(ways):
        return None
    known += _between(resource_type, criteria, alias, context)
    leading = _leading([way.kind for way in known])
    if leading is None:
        return None
    parts = [way.gather if way.kind == leading else masked(way.probe) for way in known]
    of_type = context.of_type(alias, resource_type)
    limits = masked(of_type) if leading == "token" else of_type
    return Anchored(
        all_of([limits, *parts]),
        all_of([masked(way.probe) for way in known]),
        of_one_patient=any(way.gather.sql == f"{alias}.patient = %s::bigint" for way in known),
    )


def loosely_anchored(
    criteria: Sequence[Criterion], matches: Clause, alias: str, context: SearchContext
) -> Anchored | None:
    """Return the conditions of a search that no one index answers, None where no row is probed."""
    ways = [way_of(criterion, alias, context) for criterion in criteria]
    probes = [masked(way.probe) for way in ways if way is not None]
    if not criteria or len(probes) < len(ways):
        return None
    return Anchored(matches, all_of(probes), is_loose=True)


def _leading(kinds: Sequence[Kind]) -> Kind | None:
    """Return the kind of criterion by which rows are found, None where the values decide that."""
    for kind in ("row", "narrow"):
        if kind in kinds:
            return kind
    if "tested" in kinds:
        return None
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
        return _side_rows("rows", "string", clause, alias)
    if criterion.parameter.type == "date" and clause.sql.startswith(f"{alias}.pk IN "):
        return _side_rows(_span(criterion, context), "date", clause, alias)
    if criterion.parameter.type in _MEASURED and clause.sql.startswith(f"{alias}.pk IN "):
        return _side_rows("tested", "quantity", clause, alias)
    is_plain = clause.sql.startswith(f"NOT ({alias}.tokens ") and "SELECT" not in clause.sql
    return _same("filter", clause) if is_plain else None


def _same(kind: Kind, clause: Clause) -> Way:
    return Way(kind, clause, clause)


def _side_rows(kind: Kind, table: str, clause: Clause, alias: str) -> Way | None:
    """Turn `pk IN (SELECT …)` into an array to gather by, and into a test of the row's own."""
    start = _SIDE_ROWS.format(alias=alias, table=table)
    if not clause.sql.startswith(start):
        return None
    rows = Clause(clause.sql.removeprefix(start).removesuffix(")"), clause.params)
    found = f"fhir_{table} v WHERE"
    gather = f"{alias}.pk = ANY(ARRAY(SELECT v.resource FROM {found} {rows.sql}))"
    probe = f"(SELECT true FROM {found} v.resource = {alias}.pk AND ({rows.sql}) IS TRUE LIMIT 1)"
    return Way(kind, Clause(gather, rows.params), Clause(probe, rows.params))


def _span(criterion: ParameterCriterion, context: SearchContext) -> Kind:
    """Tell dates of some days, which their index finds, from those that are tested row by row."""
    for value in criterion.values:
        prefix, low, high = parse_range(value, criterion.parameter.code, context.now)
        if prefix != "eq" or high - low > _NARROW:
            return "tested"
    return "narrow" if criterion.modifier == "" else "tested"


def _between(
    resource_type: str, criteria: Sequence[Criterion], alias: str, context: SearchContext
) -> Iterator[Way]:
    """Yield ways to the rows between two dates of a parameter that lie some days apart.

    They say less than the two criteria do, which are tested beside them.
    """
    starts: dict[str, datetime] = {}
    ends: dict[str, datetime] = {}
    for code, value in _single_dates(criteria):
        prefix, low, high = parse_range(value, code, context.now)
        if prefix in {"ge", "gt", "sa"}:
            starts[code] = low
        elif prefix in {"le", "lt", "eb"}:
            ends[code] = high
    for code in starts.keys() & ends.keys():
        if ends[code] - starts[code] <= _NARROW:
            bounds = (microseconds(ends[code]), microseconds(starts[code]))
            between = Clause("v.low < %s::bigint AND v.high > %s::bigint", bounds)
            params = salts(resource_type, code)
            clause = context.side_rows(alias, "date", resource_type, params, between)
            way = _side_rows("narrow", "date", clause, alias)
            if way is not None:
                yield replace(way, probe=Clause("true"))


def _single_dates(criteria: Sequence[Criterion]) -> Iterator[tuple[str, str]]:
    """Yield code and value of the criteria that ask for one date."""
    for criterion in criteria:
        if isinstance(criterion, ParameterCriterion) and criterion.parameter.type == "date":
            code = criterion.parameter.code
            if code != "_lastUpdated" and not criterion.modifier and len(criterion.values) == 1:
                yield code, criterion.values[0]


# --- other rows -----------------------------------------------------------------------------------


def _chain(criterion: ChainCriterion, alias: str, context: SearchContext) -> Way | None:
    if len(criterion.alternatives) != 1:
        return None
    [alternative] = criterion.alternatives
    target, parameter = alternative.resource_type, criterion.parameter
    ways = refers_by(criterion.resource_type, parameter)
    inner = context.fresh_alias()
    found = anchored(target, [alternative], inner, context)
    if ways != {"id"}:
        return None
    if found is None:
        return _tested_chain(criterion, alias, inner, context)
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


def _tested_chain(
    criterion: ChainCriterion, alias: str, inner: str, context: SearchContext
) -> Way | None:
    """Return a chain that row by row is followed, as what it leads to is found by no index."""
    [alternative] = criterion.alternatives
    target, parameter = alternative.resource_type, criterion.parameter
    way = way_of(alternative, inner, context)
    if way is None or target != "Patient" or not is_promoted(criterion.resource_type, parameter):
        return None
    rows = f"FROM fhir_resource {inner} WHERE"
    of_type = context.of_type(inner, target)
    probe = _leads(rows, f"{inner}.self = {alias}.patient", of_type, masked(way.probe))
    return Way("tested", probe, probe)


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
