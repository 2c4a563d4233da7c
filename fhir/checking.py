"""What `$validate` says of a resource. https://hl7.org/fhir/R4/resource-operation-validate.html

Everything that the definitions and the profiles say, warnings included; nothing is stored. Runs
inside a `tenant_scope` that names a project.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fhir.definitions import is_resource_type
from fhir.profiles import ProjectLibrary
from fhir.validation import Issue, validate
from fhir.validation.profiles import ProfileError, profile_issues

MODES: Final = ("create", "update", "delete", "profile")


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
        issues += _profiles(resource, profiles)
    return list(dict.fromkeys(issues))


def _mode_issues(resource: dict[str, Any], mode: str | None, rid: str) -> Iterator[Issue]:
    kind = str(resource.get("resourceType"))
    if mode == "update" and rid and resource.get("id") != rid:
        yield Issue("error", "invalid", f"{kind}.id", f"The id must be `{rid}`.")
    elif mode == "update" and not rid and not resource.get("id"):
        text = f"{kind}.id is required for an update: add the id of the resource."
        yield Issue("error", "required", f"{kind}.id", text)


def _profiles(resource: dict[str, Any], named: Sequence[str]) -> Iterator[Issue]:
    library = ProjectLibrary()
    for url in named:
        yield from _against(resource, url, library, place="", is_asked=True)
    meta = resource.get("meta")
    claimed = meta.get("profile") if isinstance(meta, dict) else None
    for index, url in enumerate(claimed if isinstance(claimed, list) else ()):
        if isinstance(url, str) and url not in named:
            place = f"{resource['resourceType']}.meta.profile[{index}]"
            yield from _against(resource, url, library, place=place, is_asked=False)


def _against(
    resource: dict[str, Any], url: str, library: ProjectLibrary, *, place: str, is_asked: bool
) -> Iterator[Issue]:
    kind = str(resource.get("resourceType"))
    try:
        definition, shape = library.definition(url), library.shape(url)
    except ProfileError as error:
        yield Issue("error" if is_asked else "warning", "not-found", place or kind, str(error))
        return
    if definition is None or shape is None:
        if is_asked and url == f"http://hl7.org/fhir/StructureDefinition/{kind}":
            return  # the base definition, which has been checked
        text = (
            f"The profile {url[:300]} is not known here: store its StructureDefinition, or correct"
            " the url."
        )
        yield Issue("error" if is_asked else "warning", "not-found", place or kind, text)
    elif definition.get("type") != kind:
        text = f"The profile {url[:300]} is for {definition.get('type')}, not for {kind}."
        yield Issue("error", "structure", place or kind, text)
    else:
        yield from profile_issues(resource, shape, url, library)
