"""What profiles and `$validate` say of a resource.

https://hl7.org/fhir/R4/resource-operation-validate.html -- Everything that the definitions and the
profiles say, warnings included; nothing is stored. Runs inside a `tenant_scope` that names a
project.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fhir.definitions import is_resource_type
from fhir.profiles import ProjectLibrary
from fhir.validation import Issue, inner_resources, moved, validate
from fhir.validation.issues import Severity
from fhir.validation.profiles import ProfileError, extension_issues, profile_issues

MODES: Final = ("create", "update", "delete", "profile")
_BASE: Final = "http://hl7.org/fhir/StructureDefinition/"
_DEEPEST: Final = 8


def judge(
    resource: dict[str, Any], *, profiles: Sequence[str] = (), mode: str | None = None, id: str = ""
) -> list[Issue]:
    """Return every issue of a resource, each once.

    `profiles` are those that the caller names; those that the resource claims in `meta.profile`
    are checked too. With mode `update` the resource must have the `id` of the address.
    """
    issues = validate(resource, warnings=True)
    issues += _mode_issues(resource, mode, id)
    if any(issue.severity == "error" and issue.code == "structure" for issue in issues):
        text = "Profiles are checked once the structure is right: correct the errors first."
        issues.append(Issue("information", "informational", "", text))
    elif is_resource_type(str(resource.get("resourceType"))):
        library = ProjectLibrary()
        for url in profiles:
            issues += _against(resource, url, library, missing="error")
        issues += _claims(resource, library, but=profiles)
        issues += extension_issues(resource, library)
    return list(dict.fromkeys(issues))


def claimed_issues(resource: dict[str, Any], *, must_be_known: bool) -> list[Issue]:
    """Return what a valid resource and those in it lack of the profiles that they claim."""
    library = ProjectLibrary()
    if not must_be_known:
        return list(_claims(resource, library, missing="warning"))
    return [
        *_claims(resource, library, missing="error"),
        *extension_issues(resource, library),
    ]


def fits_one_of(resource: dict[str, Any], profiles: Sequence[str]) -> list[Issue]:
    """Return nothing if a valid resource conforms to one of the profiles, else what is wrong.

    Of several profiles it is what the one with the fewest errors says.
    """
    library = ProjectLibrary()
    tried = [list(_against(resource, url, library, missing="error")) for url in profiles]
    errors = [[issue for issue in found if issue.severity == "error"] for found in tried]
    return [] if not all(errors) else min(errors, key=len)


def _mode_issues(resource: dict[str, Any], mode: str | None, rid: str) -> Iterator[Issue]:
    kind = str(resource.get("resourceType"))
    if mode == "update" and rid and resource.get("id") != rid:
        yield Issue("error", "invalid", f"{kind}.id", f"The id must be `{rid}`.")
    elif mode == "update" and not rid and not resource.get("id"):
        text = f"{kind}.id is required for an update: add the id of the resource."
        yield Issue("error", "required", f"{kind}.id", text)


def _claims(
    resource: dict[str, Any],
    library: ProjectLibrary,
    *,
    but: Sequence[str] = (),
    missing: Severity = "warning",
    depth: int = 0,
) -> Iterator[Issue]:
    """Yield what is wrong with the claims of a resource, and of those inside of it."""
    meta = resource.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    for index, url in enumerate(claimed if isinstance(claimed, list) else ()):
        if isinstance(url, str) and url not in but:
            place = f"{resource['resourceType']}.meta.profile[{index}]"
            yield from _against(resource, url, library, place=place, missing=missing)
    for place, inner, _ in inner_resources(resource) if depth < _DEEPEST else ():
        if isinstance(inner, dict) and is_resource_type(str(inner.get("resourceType"))):
            for issue in _claims(inner, library, missing=missing, depth=depth + 1):
                yield moved(issue, place, inner)


def _against(
    resource: dict[str, Any],
    url: str,
    library: ProjectLibrary,
    *,
    missing: Severity,
    place: str = "",
) -> Iterator[Issue]:
    kind = str(resource.get("resourceType"))
    try:
        definition, shape = library.definition(url), library.shape(url)
    except ProfileError as error:
        yield Issue(missing, "not-found", place or kind, str(error))
        return
    if definition is None or shape is None:
        yield from _unknown(url, kind, place, missing)
    elif definition.get("type") != kind:
        text = f"The profile {url[:300]} is for {definition.get('type')}, not for {kind}."
        yield Issue("error", "structure", place or kind, text)
    else:
        yield from profile_issues(resource, shape, url, library)


def _unknown(url: str, kind: str, place: str, missing: Severity) -> Iterator[Issue]:
    name = url.removeprefix(_BASE).partition("|")[0] if url.startswith(_BASE) else ""
    if name in {kind, "DomainResource", "Resource"}:
        return  # a base definition, which has been checked
    if is_resource_type(name):
        text = f"The profile {url[:300]} is for {name}, not for {kind}."
        yield Issue("error", "structure", place or kind, text)
        return
    text = (
        f"The profile {url[:300]} is not known here: store its StructureDefinition, or correct"
        " the url."
    )
    yield Issue(missing, "not-found", place or kind, text)
