"""From criteria to SQL conditions: one module a parameter type, chains and `_has` here."""

from collections.abc import Callable
from functools import partial
from typing import Final

from fhir import hashes
from fhir.search.clause import Clause, all_of, any_of, has_any_token, negate
from fhir.search.context import SearchContext, salts
from fhir.search.criterion import TEXTS
from fhir.search.errors import SearchRefused
from fhir.search.params import (
    composite,
    date,
    fulltext,
    near,
    number,
    quantity,
    reference,
    string,
    text,
    token,
    uri,
)
from fhir.search.request import (
    AllCriterion,
    AnyCriterion,
    ChainCriterion,
    Criterion,
    HasCriterion,
    NotCriterion,
    ParameterCriterion,
)
from fhir.search.values import unescape

_CONDITIONS: Final[dict[str, Callable[[ParameterCriterion, str, SearchContext], Clause]]] = {
    "token": token.condition,
    "string": string.condition,
    "date": date.condition,
    "number": number.condition,
    "quantity": quantity.condition,
    "reference": reference.condition,
    "uri": uri.condition,
    "composite": composite.condition,
    "special": near.condition,
}


def condition(criterion: Criterion, alias: str, context: SearchContext) -> Clause:
    """Return the condition on the row `alias` that a criterion stands for."""
    if isinstance(criterion, ChainCriterion):
        return _chain(criterion, alias, context)
    if isinstance(criterion, HasCriterion):
        return _has(criterion, alias, context)
    if isinstance(criterion, AnyCriterion):
        return any_of([condition(part, alias, context) for part in criterion.alternatives])
    if isinstance(criterion, AllCriterion):
        return all_of([condition(part, alias, context) for part in criterion.parts])
    if isinstance(criterion, NotCriterion):
        return negate(condition(criterion.part, alias, context))
    return _parameter(criterion, alias, context)


def _parameter(criterion: ParameterCriterion, alias: str, context: SearchContext) -> Clause:
    code = criterion.parameter.code
    if code == "_id":
        return _id(criterion, alias)
    if criterion.modifier == "missing":
        return _missing(criterion, alias)
    if code in TEXTS:
        return fulltext.condition(criterion, alias, context)
    if criterion.modifier == "text":
        return text.condition(criterion, alias, context)
    return _CONDITIONS[criterion.parameter.type](criterion, alias, context)


def _id(criterion: ParameterCriterion, alias: str) -> Clause:
    if criterion.modifier == "missing":
        return Clause("false" if criterion.values == ("true",) else "true")
    wanted = Clause(f"{alias}.rid = ANY(%b::text[])", ([unescape(v) for v in criterion.values],))
    return negate(wanted) if criterion.modifier == "not" else wanted


def _missing(criterion: ParameterCriterion, alias: str) -> Clause:
    code = criterion.parameter.code
    if criterion.values not in {("true",), ("false",)}:
        raise SearchRefused(f"`{code}:missing` is true or false.", param=code)
    is_missing = criterion.values == ("true",)
    if code == "_lastUpdated":
        return Clause("false" if is_missing else "true")
    params = salts(criterion.resource_type, code)
    present = has_any_token(alias, [hashes.PRESENT ^ param for param in params])
    return negate(present) if is_missing else present


def _chain(criterion: ChainCriterion, alias: str, context: SearchContext) -> Clause:
    return any_of(
        [
            reference.refers_to(
                criterion.resource_type,
                criterion.parameter,
                alternative.resource_type,
                alias,
                partial(_selected, criterion=alternative, context=context),
            )
            for alternative in criterion.alternatives
        ]
    )


def _has(criterion: HasCriterion, alias: str, context: SearchContext) -> Clause:
    return reference.referred_by(
        criterion.source_type,
        criterion.parameter,
        criterion.resource_type,
        alias,
        partial(_selected, criterion=criterion.criterion, context=context),
    )


def _selected(what: str, *, criterion: Criterion, context: SearchContext) -> Clause:
    """Return `what FROM … WHERE …`: what to select of the rows that meet a criterion."""
    inner = context.fresh_alias()
    where = all_of(
        [context.of_type(inner, criterion.resource_type), condition(criterion, inner, context)]
    )
    return Clause(
        f"{what.format(alias=inner)} FROM fhir_resource {inner} WHERE {where.sql}", where.params
    )
