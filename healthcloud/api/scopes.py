"""SMART's scopes on clinical data: `patient/Observation.rs?category=laboratory`, and version 1's.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html. Pure.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

EVERY_TYPE: Final = "*"
VERBS: Final = "cruds"
PATIENT: Final = "patient"
_FORM: Final = re.compile(
    r"(patient|system|user)/(\*|[A-Z][A-Za-z]{1,63})"
    r"\.(\*|read|write|(?=[cruds])c?r?u?d?s?)(?:\?([^\s?]+=[^\s?]*))?"
)
_FIRST_VERSION: Final = {"*": VERBS, "read": "rs", "write": "cud"}
_COARSE: Final = {"read": "rs", "write": "cud"}


class ClinicalScope(NamedTuple):
    """A type, or `*`, and the verbs: create, read, update, delete, search.

    `level` is `patient` where the scope holds for one patient's record only; `query` narrows it to
    the resources that a search finds.
    """

    resource_type: str
    verbs: str
    level: str = "system"
    query: str = ""

    @property
    def is_narrowed(self) -> bool:
        """Tell whether it leaves out resources of its type."""
        return self.level == PATIENT or bool(self.query)

    def spelled(self) -> str:
        """Return the scope as text."""
        query = f"?{self.query}" if self.query else ""
        return f"{self.level}/{self.resource_type}.{self.verbs}{query}"


@lru_cache(maxsize=4096)
def parse_scope(text: str) -> ClinicalScope | None:
    """Return a clinical scope of SMART, None for anything else."""
    match = _FORM.fullmatch(text)
    if match is None or (match[4] and match[2] == EVERY_TYPE):
        return None
    level, resource_type, verbs, query = match.groups()
    return ClinicalScope(resource_type, _FIRST_VERSION.get(verbs, verbs), level, query or "")


@lru_cache(maxsize=4096)
def is_narrowed(text: str) -> bool:
    """Tell whether a scope leaves out resources of its type."""
    found = parse_scope(text)
    return found is not None and found.is_narrowed


def coarse_of(verb: str) -> str:
    """Return the platform's word for a verb: read or write."""
    return "read" if verb in _COARSE["read"] else "write"


def grants(scopes: Iterable[str], resource_type: str, verbs: str) -> bool:
    """Tell whether SMART's scopes among these grant any of the verbs on a type.

    Narrowed scopes do: what they leave out is kept from the caller by the database.
    """
    return any(
        found.resource_type in {EVERY_TYPE, resource_type} and any(v in found.verbs for v in verbs)
        for found in map(parse_scope, scopes)
        if found is not None
    )


def grants_coarsely(scopes: Iterable[str], scope: str) -> bool:
    """Tell whether SMART's scopes grant something of `Observation:read`, or `fhir:write`.

    Which verbs exactly is asked where the interaction is known.
    """
    name, _, access = scope.partition(":")
    verbs = _COARSE.get(access)
    if verbs is None or not (name == "fhir" or name[:1].isupper()):
        return False
    return grants(scopes, EVERY_TYPE if name == "fhir" else name, verbs)


def platform_scopes(scope: ClinicalScope) -> set[str]:
    """Return the platform's scopes that include a clinical scope."""
    name = "fhir" if scope.resource_type == EVERY_TYPE else scope.resource_type
    return {f"{name}:{coarse_of(verb)}" for verb in scope.verbs}


def common(held: Iterable[str], wanted: str) -> set[str]:
    """Return what of a clinical scope that is wanted lies within those that are held.

    That is the scope itself where a held one includes it, else the parts that both have.
    """
    asked = parse_scope(wanted)
    if asked is None:
        return set()
    parts = {part for text in held for part in _shared(text, asked)}
    return {wanted} if _includes(parts, asked) else {part.spelled() for part in parts}


def _shared(held: str, asked: ClinicalScope) -> Iterable[ClinicalScope]:
    """Yield what a held scope, of SMART or of the platform, has in common with one asked for."""
    for found in _clinical(held):
        verbs = "".join(verb for verb in VERBS if verb in found.verbs and verb in asked.verbs)
        types = {found.resource_type, asked.resource_type} - {EVERY_TYPE} or {EVERY_TYPE}
        queries = {found.query, asked.query} - {""} or {""}
        if verbs and len(types) == 1 and len(queries) == 1:
            level = PATIENT if PATIENT in {found.level, asked.level} else asked.level
            yield ClinicalScope(types.pop(), verbs, level, queries.pop())


def _clinical(held: str) -> Iterable[ClinicalScope]:
    name, _, access = held.partition(":")
    if access in _COARSE and (name == "fhir" or name[:1].isupper()):
        yield ClinicalScope(EVERY_TYPE if name == "fhir" else name, _COARSE[access])
    found = parse_scope(held)
    if found is not None:
        yield found


def _includes(parts: Iterable[ClinicalScope], asked: ClinicalScope) -> bool:
    whole = [part for part in parts if part._replace(verbs=asked.verbs) == asked]
    return set(asked.verbs) <= {verb for part in whole for verb in part.verbs}
