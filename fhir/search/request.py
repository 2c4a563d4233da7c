"""What a search asks for, after parsing: pure values, no SQL and no Django."""

from dataclasses import dataclass, field
from typing import Literal

from fhir.definitions import SearchParameter

Total = Literal["known", "none", "estimate", "accurate"]
"""Whether matches are counted; `known`, unless asked otherwise: where the page says it."""
Summary = Literal["", "true", "text", "data", "count", "false"]
Contained = Literal["", "true", "both"]
ContainedType = Literal["container", "contained"]
Modifier = str


@dataclass(frozen=True, slots=True)
class ParameterCriterion:
    """One parameter of the type itself; any of the values may match."""

    resource_type: str
    parameter: SearchParameter
    modifier: Modifier
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChainCriterion:
    """`subject:Patient.name=peter`: a reference to a resource that matches.

    There is one alternative for each type the reference may point to and that has the parameter.
    """

    resource_type: str
    parameter: SearchParameter
    alternatives: tuple["Criterion", ...]


@dataclass(frozen=True, slots=True)
class HasCriterion:
    """`_has:Observation:patient:code=1234`: a resource that refers here and matches."""

    resource_type: str
    source_type: str
    parameter: SearchParameter
    criterion: "Criterion"


@dataclass(frozen=True, slots=True)
class AnyCriterion:
    """A resource that meets one of several criteria, as the members of a compartment do."""

    resource_type: str
    alternatives: tuple["Criterion", ...]


@dataclass(frozen=True, slots=True)
class AllCriterion:
    """A resource that meets all of several criteria."""

    resource_type: str
    parts: tuple["Criterion", ...]


@dataclass(frozen=True, slots=True)
class NotCriterion:
    """A resource that does not meet a criterion."""

    resource_type: str
    part: "Criterion"


Criterion = (
    ParameterCriterion | ChainCriterion | HasCriterion | AnyCriterion | AllCriterion | NotCriterion
)


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of `_sort`; `via` is the reference to the `target` type whose parameter it is."""

    parameter: SearchParameter
    descending: bool
    via: SearchParameter | None = None
    target: str = ""


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`; an empty `code` means every reference (`*`)."""

    source_type: str
    code: str
    target_type: str
    iterate: bool = False


@dataclass(frozen=True, slots=True)
class Ignored:
    """A parameter that was left out under lenient handling, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A parsed search of one resource type.

    `used` are the parameters as they were understood; `carried` say nothing of what is found, and
    go along in the links: the format, the project.
    """

    resource_type: str
    criteria: tuple[Criterion, ...] = ()
    sort: tuple[SortKey, ...] = ()
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    count: int = 20
    total: Total = "known"
    summary: Summary = ""
    elements: tuple[str, ...] = ()
    contained: Contained = ""
    contained_type: ContainedType = "container"
    cursor: str = ""
    ignored: tuple[Ignored, ...] = ()
    used: tuple[tuple[str, str], ...] = field(default=())
    carried: tuple[tuple[str, str], ...] = field(default=())


def types_touched(request: SearchRequest) -> set[str]:
    """Return the other types whose content a search tests, through chains, `_has` and `_sort`."""
    tested = {name for criterion in request.criteria for name in _types(criterion)}
    return (tested | {key.target for key in request.sort if key.via}) - {request.resource_type}


def parts_of_criterion(criterion: Criterion) -> tuple[Criterion, ...]:
    """Return the criteria that a criterion is made of."""
    if isinstance(criterion, ChainCriterion | AnyCriterion):
        return criterion.alternatives
    if isinstance(criterion, AllCriterion):
        return criterion.parts
    if isinstance(criterion, NotCriterion):
        return (criterion.part,)
    return (criterion.criterion,) if isinstance(criterion, HasCriterion) else ()


def _types(criterion: Criterion) -> set[str]:
    own = {criterion.resource_type}
    if isinstance(criterion, HasCriterion):
        own.add(criterion.source_type)
    return own.union(*(_types(part) for part in parts_of_criterion(criterion)))
