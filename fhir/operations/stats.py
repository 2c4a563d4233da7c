"""`Observation/$stats`: what the numbers of an observation were over a time.

https://hl7.org/fhir/R4/observation-operation-stats.html
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from fhir.documents import JsonObject, instant
from fhir.instants import date_range
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter, Parameters, parameters, part
from fhir.search.service import search
from fhir.stored import StoredResource

SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/observation-statistics"
_LIMIT: Final = 10_000
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """One number and when it was observed, in seconds since the first of its series."""

    value: float
    at: datetime | None
    observation: StoredResource


Numbers = Sequence[float]
Statistic = Callable[[Numbers], float | None]


def quantile(numbers: Numbers, share: float) -> float:
    """Return the value below which a share of the numbers lies, between neighbors by distance."""
    ordered = sorted(numbers)
    position = share * (len(ordered) - 1)
    low = math.floor(position)
    high = math.ceil(position)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


def _at(share: float) -> Statistic:
    return lambda numbers: quantile(numbers, share)


def _spread(numbers: Numbers) -> float | None:
    return statistics.stdev(numbers) if len(numbers) > 1 else None


def _variance(numbers: Numbers) -> float | None:
    return statistics.variance(numbers) if len(numbers) > 1 else None


def skewness(numbers: Numbers) -> float | None:
    """Return the sample skewness (adjusted Fisher-Pearson), None below three numbers."""
    count, spread = len(numbers), _spread(numbers)
    if count < 3 or not spread:
        return None
    mean = statistics.fmean(numbers)
    third = sum(((number - mean) / spread) ** 3 for number in numbers)
    return count / ((count - 1) * (count - 2)) * third


def kurtosis(numbers: Numbers) -> float | None:
    """Return the sample excess kurtosis, None below four numbers."""
    count, spread = len(numbers), _spread(numbers)
    if count < 4 or not spread:
        return None
    mean = statistics.fmean(numbers)
    fourth = sum(((number - mean) / spread) ** 4 for number in numbers)
    first = count * (count + 1) / ((count - 1) * (count - 2) * (count - 3))
    return first * fourth - 3 * (count - 1) ** 2 / ((count - 2) * (count - 3))


_STATISTICS: Final[Mapping[str, tuple[str, Statistic]]] = {
    "average": ("Average", statistics.fmean),
    "maximum": ("Maximum", max),
    "minimum": ("Minimum", min),
    "count": ("Count", len),
    "median": ("Median", statistics.median),
    "std-dev": ("Standard Deviation", _spread),
    "sum": ("Sum", math.fsum),
    "variance": ("Variance", _variance),
    "20-percent": ("20th Percentile", _at(0.2)),
    "80-percent": ("80th Percentile", _at(0.8)),
    "4-lower": ("Lower Quartile", _at(0.25)),
    "4-upper": ("Upper Quartile", _at(0.75)),
    "4-dev": ("Quartile Deviation", lambda n: (quantile(n, 0.75) - quantile(n, 0.25)) / 2),
    "5-1": ("1st Quintile", _at(0.2)),
    "5-2": ("2nd Quintile", _at(0.4)),
    "5-3": ("3rd Quintile", _at(0.6)),
    "5-4": ("4th Quintile", _at(0.8)),
    "skew": ("Skew", skewness),
    "kurtosis": ("Kurtosis", kurtosis),
}
_NAMES: Final = frozenset({*_STATISTICS, "total-count", "regression"})
_PLAIN: Final = frozenset({"count", "total-count", "skew", "kurtosis"})


def stats(call: Call) -> JsonObject:
    """Answer one Observation of statistics for each code and unit that was asked for.

    `subject` and `code` (or `coding`) say which observations, `duration` (hours until now) or
    `period` which time; without either, all. Dates, units and values are those of
    `valueQuantity` and of components with the code. Quantiles interpolate linearly; variance and
    deviation are those of a sample. At most 10,000 observations of a code are read.
    """
    wanted = _wanted(call.parameters)
    answered: list[JsonObject] = []
    sources: dict[str, StoredResource] = {}
    low, high = _time(call)
    for coding in _codings(call.parameters):
        found = _observations(call, coding, low, high)
        for unit, samples in _series(found, coding).items():
            answered.append(
                _observation(
                    call, coding, unit, samples, wanted, total=len(found), time=(low, high)
                )
            )
            sources.update({s.observation.reference: s.observation for s in samples})
    parts = [part("statistics", resource=observation) for observation in answered]
    if call.parameters.truth("include"):
        limit = call.parameters.integer("limit", minimum=1) or _LIMIT
        latest = list(sources.values())[:limit]
        parts += [part("source", resource=source.resource) for source in latest]
    return parameters(*parts)


def _wanted(given: Parameters) -> list[str]:
    names = given.texts("statistic", commas=True)
    if not names:
        raise InvalidParameter("Name at least one `statistic`, such as average.", param="statistic")
    for name in names:
        if name not in _NAMES:
            known = ", ".join(sorted(_NAMES))
            raise InvalidParameter(
                f"`{name[:40]}` is no statistic. There are: {known}.", param="statistic"
            )
    return list(dict.fromkeys(names))


def _codings(given: Parameters) -> list[JsonObject]:
    system = given.text("system")
    codings = [{"system": system, "code": code} for code in given.texts("code", commas=True)]
    codings += given.elements("coding", "Coding")
    if not codings or not all(isinstance(coding.get("code"), str) for coding in codings):
        raise InvalidParameter("Name a `code` (with its `system`) or a `coding`.", param="code")
    return [{name: value for name, value in c.items() if value is not None} for c in codings]


def _time(call: Call) -> tuple[datetime | None, datetime | None]:
    duration, period = call.parameters.one("duration"), call.parameters.element("period", "Period")
    if duration is None:
        return _bounds(period) if period is not None else (None, None)
    try:
        hours = float(Decimal(str(duration.value)))
        return call.now - timedelta(hours=hours), call.now
    except (InvalidOperation, OverflowError, ValueError):
        raise InvalidParameter("`duration` is a number of hours.", param="duration") from None


def _bounds(period: JsonObject) -> tuple[datetime | None, datetime | None]:
    try:
        start, end = period.get("start"), period.get("end")
        return (
            date_range(start)[0] if start is not None else None,
            date_range(end)[1] if end is not None else None,
        )
    except (TypeError, ValueError):
        raise InvalidParameter("`period` has a start and an end.", param="period") from None


def _observations(
    call: Call, coding: JsonObject, low: datetime | None, high: datetime | None
) -> list[StoredResource]:
    """Return the observations of a code, the latest first."""
    token = f"{coding['system']}|{coding['code']}" if "system" in coding else coding["code"]
    pairs = [
        ("subject", call.parameters.required("subject")),
        ("combo-code", token.replace(",", "\\,")),
        ("_sort", "-date"),
        ("_count", str(_PAGE)),
    ]
    pairs += [("date", f"ge{instant(low)}")] if low else []
    pairs += [("date", f"lt{instant(high)}")] if high else []
    found: list[StoredResource] = []
    query: str | list[tuple[str, str]] | None = pairs
    while query is not None and len(found) < _LIMIT:
        page = search(resource_type="Observation", query=query, now=call.now, strict=True)
        found += page.entries
        query = page.next_query
    return found[:_LIMIT]


def _series(
    found: Sequence[StoredResource], coding: JsonObject
) -> dict[tuple[str, str, str], list[Sample]]:
    """Return the numbers by unit `(system, code, printed)`; what failed or is wrong is left out."""
    series: dict[tuple[str, str, str], list[Sample]] = {}
    for observation in found:
        data = observation.resource
        if data.get("status") in {"cancelled", "entered-in-error"}:
            continue
        at = _observed_at(data)
        for part_ in (data, *data.get("component", ())):
            quantity = part_.get("valueQuantity", {})
            if "value" in quantity and _has(part_.get("code", {}), coding):
                unit = tuple(str(quantity.get(name, "")) for name in ("system", "code", "unit"))
                sample = Sample(float(quantity["value"]), at, observation)
                series.setdefault((unit[0], unit[1], unit[2]), []).append(sample)
    return series


def _has(concept: JsonObject, coding: JsonObject) -> bool:
    return any(
        one.get("code") == coding["code"]
        and one.get("system") == coding.get("system", one.get("system"))
        for one in concept.get("coding", ())
    )


def _observed_at(data: JsonObject) -> datetime | None:
    period = data.get("effectivePeriod", {})
    text = data.get("effectiveDateTime") or data.get("effectiveInstant") or period.get("start")
    return date_range(text)[0] if text else None


def _observation(
    call: Call,
    coding: JsonObject,
    unit: tuple[str, str, str],
    samples: Sequence[Sample],
    wanted: Sequence[str],
    *,
    total: int,
    time: tuple[datetime | None, datetime | None],
) -> JsonObject:
    components = [
        component for name in wanted for component in _components(name, samples, unit, total=total)
    ]
    dates = [sample.at for sample in samples if sample.at is not None]
    low, high = time[0] or min(dates, default=None), time[1] or max(dates, default=None)
    bounds = {"start": low and instant(low), "end": high and instant(high)}
    answer: JsonObject = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [coding]},
        "subject": {"reference": call.parameters.required("subject")},
        "effectivePeriod": {name: value for name, value in bounds.items() if value},
        "component": components,
    }
    return {name: value for name, value in answer.items() if value}


def _components(
    name: str, samples: Sequence[Sample], unit: tuple[str, str, str], *, total: int
) -> list[JsonObject]:
    if name == "regression":
        return _regression(samples, unit)
    display, compute = _STATISTICS.get(name, ("Total Count", lambda _: float(total)))
    value = compute([sample.value for sample in samples])
    component: JsonObject = {"code": _code(name, display)}
    if value is None:
        component["dataAbsentReason"] = {"text": "Too few values."}
    else:
        component["valueQuantity"] = _quantity(value, ("", "", "") if name in _PLAIN else unit)
    return [component]


def _regression(samples: Sequence[Sample], unit: tuple[str, str, str]) -> list[JsonObject]:
    """Return slope (in units a day) and intercept (at the first moment) over time."""
    dated = [(sample.at, sample.value) for sample in samples if sample.at is not None]
    first = min((at for at, _ in dated), default=None)
    code = _code("regression", "Regression")
    if first is None or len({at for at, _ in dated}) < 2:
        return [{"code": code, "dataAbsentReason": {"text": "Too few values."}}]
    days = [(at - first) / timedelta(days=1) for at, _ in dated]
    slope, intercept = statistics.linear_regression(days, [value for _, value in dated])
    printed = unit[2] or unit[1] or "1"
    return [
        {
            "code": {**code, "text": "Regression: slope"},
            "valueQuantity": _quantity(slope, ("", "", f"{printed}/d")),
        },
        {
            "code": {**code, "text": "Regression: intercept"},
            "valueQuantity": _quantity(intercept, unit),
        },
    ]


def _code(name: str, display: str) -> JsonObject:
    return {"coding": [{"system": SYSTEM, "code": name, "display": display}]}


def _quantity(value: float, unit: tuple[str, str, str]) -> JsonObject:
    rounded = float(f"{value:.12g}")
    number = int(rounded) if rounded == int(rounded) else rounded
    parts = {"unit": unit[2], "system": unit[0], "code": unit[1]}
    return {"value": number, **{name: text for name, text in parts.items() if text}}


OPERATION = Operation(
    name="stats",
    run=stats,
    levels=frozenset({"type"}),
    types=frozenset({"Observation"}),
    summary="Answer statistics of an observation's numbers over a time.",
    inputs=frozenset(
        {
            "subject",
            "code",
            "system",
            "coding",
            "duration",
            "period",
            "statistic",
            "include",
            "limit",
        }
    ),
    definition=f"{HL7}Observation-stats",
    weight=3,
)
