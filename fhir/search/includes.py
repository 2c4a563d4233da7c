"""`_include` and `_revinclude`, one round trip for each step.

https://hl7.org/fhir/R4/search.html#revinclude. A reference leads to an id, a canonical to the
`url` of a resource, and to one version of it where it names that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fhir import hashes, parameters
from fhir.definitions import (
    SearchParameter,
    reference_parameters,
    resource_types,
    search_parameter,
)
from fhir.indexing import own_bases
from fhir.rows import STORED_COLUMNS, stored_of
from fhir.search.clause import GATHERED, MAX_COMPARED, array
from fhir.search.extractors import Reference, reference_extractor
from fhir.search.params.reference import has_url, refers_by
from fhir.search.present import present_types
from fhir.search.request import Include, SearchRequest
from fhir.sql import Row, Statement, fetch_all
from fhir.stored import StoredResource

MAX_INCLUDED: Final = 1000
MAX_STEPS: Final = 32
CUT: Final = (
    f"At most {MAX_INCLUDED} resources are included on a page, and not all that belong here are:"
    " ask for smaller pages by `_count`, or for fewer includes."
)
# Nothing leads through the rows in this order, so that only what is asked for is read.
_ORDER: Final = "ORDER BY (r.pk + 0) LIMIT %s::integer"
_BY_KEY: Final = (
    f"SELECT {STORED_COLUMNS} FROM fhir_resource r WHERE r.self = ANY(%s::bigint[])"
    f" AND r.project = %s::integer AND r.content IS NOT NULL {_ORDER}"
)
_BY_TOKEN: Final = (
    f"SELECT {STORED_COLUMNS} FROM fhir_resource r WHERE r.project = %s::integer"
    f" AND r.content IS NOT NULL AND r.tokens && %s::bigint[] {_ORDER}"
)

_BY_TOKENS: Final = (
    f"SELECT {STORED_COLUMNS} FROM fhir_resource r WHERE r.project = %s::integer"
    f" AND r.content IS NOT NULL AND r.pk = ANY({GATHERED}) {_ORDER}"
)

Belongs = Callable[[StoredResource], bool]


@dataclass(slots=True)
class Included:
    """What was included, each once, and whether something had to be left out."""

    resources: list[StoredResource] = field(default_factory=list)
    is_cut: bool = False


@dataclass(slots=True)
class _Step:
    """What one step asks for: keys, tokens, and the canonicals among them with their versions.

    `known` is what the project added to R4's parameters, where the includes may mean it; `there`
    are the types that may refer to something, where an include names none.
    """

    known: parameters.Known
    there: frozenset[str] = frozenset()
    keys: set[int] = field(default_factory=set)
    tokens: set[int] = field(default_factory=set)
    # url → versions asked for; None: whichever there is
    forward: dict[str, set[str | None]] = field(default_factory=dict)
    reverse_tokens: set[int] = field(default_factory=set)
    # (referring type, code) → (url, version) of the resources that may be meant
    reverse: dict[tuple[str, str], set[tuple[str, str | None]]] = field(default_factory=dict)

    def references(self, resource: dict[str, Any], code: str = "") -> list[Reference]:
        """Return the references of a resource by a parameter, or by whatever parameter."""
        official = search_parameter(resource["resourceType"], code) is not None
        extract = reference_extractor(resource["resourceType"], code if official else "")
        return [
            *extract(resource).references,
            *parameters.custom_references(self.known, resource),
        ]

    def parameter(self, resource_type: str, code: str) -> SearchParameter | None:
        """Return a parameter of R4's or of the project's own."""
        official = search_parameter(resource_type, code)
        return official or self.known.find(resource_type, code)


def included(request: SearchRequest, matches: Sequence[StoredResource], project: int) -> Included:
    """Return what the matches refer to and what refers to them, each once.

    At most 1,000 resources; `:iterate` goes on with what was found, whatever circles there are.
    """
    result = Included()
    if not request.includes and not request.revincludes:
        return result
    seen = {match.key for match in matches}
    latest = list(matches)
    known = parameters.current() if _asks_more(request) else parameters.Known()
    is_open = any(not include.source_type for include in request.revincludes)
    there = frozenset(present_types() if is_open else ())
    for number in range(MAX_STEPS):
        step = _asked(request, latest, _Step(known, there), first=number == 0)
        step.keys -= seen
        latest = _run(step, project, seen)
        room = MAX_INCLUDED - len(result.resources)
        result.resources += latest[:room]
        if len(latest) > room:
            result.is_cut = True
            return result
        if not latest:
            return result
    result.is_cut = True
    return result


def _asks_more(request: SearchRequest) -> bool:
    """Tell whether an include may mean a parameter that the project added."""
    return any(
        not include.code or search_parameter(include.source_type, include.code) is None
        for include in (*request.includes, *request.revincludes)
    )


def _asked(
    request: SearchRequest,
    sources: Sequence[StoredResource],
    step: _Step,
    *,
    first: bool,
) -> _Step:
    """Return the step with what it asks for: after the first, only what iterates."""
    forward = [include for include in request.includes if first or include.iterate]
    reverse = [include for include in request.revincludes if first or include.iterate]
    for source in sources:
        relevant = [i for i in forward if i.source_type in {"", source.resource_type}]
        if relevant:
            _add_referred(step, source, relevant)
        for include in reverse:
            if include.target_type in {"", source.resource_type}:
                _add_referring(step, source, include)
    return step


def _run(step: _Step, project: int, seen: set[int]) -> list[StoredResource]:
    """Return what a step finds and nobody has seen, at most one more than there may be."""
    limit = MAX_INCLUDED + 1
    asked: list[tuple[Statement, Belongs]] = []
    if step.keys:
        params: Sequence[object] = (array(sorted(step.keys)), project, limit)
        asked.append((Statement(_BY_KEY, params, prepare=True, is_fixed=True), _anything))
    for tokens, belongs in (
        (step.tokens, _version_asked(step)),
        (step.reverse_tokens, _refers(step)),
    ):
        if tokens:
            params = (project, array(sorted(tokens)), limit)
            sql = _BY_TOKEN if len(tokens) <= MAX_COMPARED else _BY_TOKENS
            asked.append((Statement(sql, params, prepare=True, is_fixed=True), belongs))
    if not asked:
        return []
    found: list[StoredResource] = []
    results: Sequence[Sequence[Row]] = fetch_all([statement for statement, _ in asked])
    for rows, (_, belongs) in zip(results, asked, strict=True):
        for resource in map(stored_of, rows):
            if resource.key not in seen and belongs(resource):
                seen.add(resource.key)
                found.append(resource)
    return found


def _anything(resource: StoredResource) -> bool:
    return True


# --- what a resource refers to --------------------------------------------------------------------


def _add_referred(step: _Step, source: StoredResource, includes: Sequence[Include]) -> None:
    for include in includes:
        for reference in step.references(source.resource, include.code):
            if include.code not in {"", reference.param}:
                continue
            if reference.type and reference.id and _is_local(reference):
                if include.target_type in {"", reference.type}:
                    step.keys.add(hashes.self_hash(reference.type, reference.id))
            elif reference.url:
                _add_canonical(step, source.resource_type, reference, include)


def _add_canonical(step: _Step, resource_type: str, reference: Reference, include: Include) -> None:
    """Ask for the resources whose `url` a canonical names."""
    parameter = step.parameter(resource_type, reference.param)
    if parameter is None or "url" not in refers_by(resource_type, parameter):
        return
    targets = [include.target_type] if include.target_type else parameter.targets
    url = reference.url or ""
    step.forward.setdefault(url, set()).add(reference.version)
    for target in targets or resource_types():
        if has_url(target):
            step.tokens.add(hashes.uri(url) ^ hashes.param_salt(target, "url"))


def _version_asked(step: _Step) -> Belongs:
    def belongs(resource: StoredResource) -> bool:
        versions = step.forward.get(str(resource.resource.get("url")), set())
        return None in versions or resource.resource.get("version") in versions

    return belongs


def _is_local(reference: Reference) -> bool:
    return reference.url is None or reference.url.startswith(own_bases())


# --- what refers to a resource --------------------------------------------------------------------


def _add_referring(step: _Step, source: StoredResource, include: Include) -> None:
    for resource_type, code in _reverse_parameters(include, source.resource_type, step):
        salt = hashes.param_salt(resource_type, code)
        step.reverse_tokens.add(source.key ^ salt)
        parameter = step.parameter(resource_type, code)
        if parameter is None or "url" not in refers_by(resource_type, parameter):
            continue
        url = source.resource.get("url")
        if isinstance(url, str) and has_url(source.resource_type):
            step.reverse_tokens.add(hashes.uri(url) ^ salt)
            named = step.reverse.setdefault((resource_type, code), set())
            named.add((url, source.resource.get("version")))


def _reverse_parameters(include: Include, target: str, step: _Step) -> Sequence[tuple[str, str]]:
    if include.code:
        return [(include.source_type, include.code)]
    pairs = (*reference_parameters(target), *step.known.references_to(target))
    kinds = {include.source_type} if include.source_type else step.there
    return [pair for pair in pairs if pair[0] in kinds]


def _refers(step: _Step) -> Belongs:
    """Return the test that a canonical which names a version names that of a source."""

    def refers(kind: str, reference: Reference) -> bool:
        named = step.reverse.get((kind, reference.param))
        if reference.url is not None and named is not None:
            versions = {version for url, version in named if url == reference.url}
            return bool(versions) and (reference.version is None or reference.version in versions)
        if not (reference.type and reference.id):
            return False
        salt = hashes.param_salt(kind, reference.param)
        return hashes.self_hash(reference.type, reference.id) ^ salt in step.reverse_tokens

    def belongs(resource: StoredResource) -> bool:
        kind = resource.resource_type
        if not any(referring == kind for referring, _ in step.reverse):
            return True
        return any(refers(kind, reference) for reference in step.references(resource.resource))

    return belongs
