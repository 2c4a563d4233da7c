"""The scopes of apps: clinical ones, launch contexts, identity and refresh; and what they mean.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from collections.abc import Iterable
from typing import Final

from django.conf import settings
from django.utils.module_loading import import_string

from healthcloud.api.scopes import EVERY_TYPE, PATIENT, ClinicalScope, common, parse_scope
from healthcloud.errors import Forbidden, ValidationFailed
from healthcloud.organizations.services.keys import lies_within

LAUNCH: Final = "launch"
LAUNCH_PATIENT: Final = "launch/patient"
OFFLINE: Final = "offline_access"
ONLINE: Final = "online_access"
OPENID: Final = "openid"
FHIR_USER: Final = ("fhirUser", "profile")
_CONTEXTS: Final = {
    LAUNCH: "Open in the context in which it was launched",
    LAUNCH_PATIENT: "Know which patient you choose",
    "launch/encounter": "Know which encounter it was launched in",
    OPENID: "Know who you are",
    "fhirUser": "Know your record as a practitioner",
    "profile": "Know your record as a practitioner",
    OFFLINE: "Keep this access while you are away, until you or it end it",
    ONLINE: "Keep this access while you are signed in",
}
CONTEXT_SCOPES: Final = tuple(_CONTEXTS)
_VERBS: Final = {
    "r": "read",
    "s": "search",
    "c": "create",
    "u": "change",
    "d": "delete",
}


class ScopeRefused(ValidationFailed):
    """An app may not be given a scope."""

    def __init__(self, message: str) -> None:
        super().__init__(message, param="scopes")


def check_client_scopes(scopes: Iterable[str], *, grantable: frozenset[str] | None) -> list[str]:
    """Return the scopes that an app may ask for, sorted; raise ValidationFailed or Forbidden.

    `grantable` are the scopes of whoever registers it, None for the platform itself.
    """
    wanted = sorted(set(scopes))
    if not wanted:
        raise ScopeRefused("Name at least one scope, such as `patient/*.rs`.")
    for text in wanted:
        clinical = parse_scope(text)
        if text in CONTEXT_SCOPES:
            continue
        if clinical is None or clinical.level == "system":
            raise ScopeRefused(
                f"`{text}` is no scope of an app. Those are {', '.join(CONTEXT_SCOPES)} and"
                " clinical ones such as `patient/*.rs` or `user/Observation.cruds`."
            )
        check_clinical(clinical)
        if grantable is not None and not lies_within(text, grantable):
            raise Forbidden(
                f"You can't let an app ask for `{text}`, which you don't have yourself.",
                param="scopes",
            )
    return wanted


def check_clinical(scope: ClinicalScope) -> None:
    """Raise ValidationFailed for a type or a query that the clinical store does not know."""
    import_string(settings.CLINICAL_SCOPE_CHECK)(scope)


def is_known(text: str) -> bool:
    """Tell whether a scope is one that this server can hold an app or client to."""
    clinical = parse_scope(text)
    if clinical is None:
        return text in CONTEXT_SCOPES
    try:
        check_clinical(clinical)
    except ValidationFailed:
        return False
    return True


def grantable_scopes(
    asked: Iterable[str], *, of_client: Iterable[str], of_person: Iterable[str]
) -> list[str]:
    """Return what can be granted of the scopes asked for: what client and person have, too."""
    held, own = list(of_client), list(of_person)
    found: set[str] = set()
    for text in asked:
        if text in CONTEXT_SCOPES and text in held:
            found.add(text)
        found |= {part for shared in common(held, text) for part in common(own, shared)}
    return sorted(found)


def needs_patient(scopes: Iterable[str]) -> bool:
    """Tell whether scopes mean one patient, who must be known."""
    clinical = (parse_scope(text) for text in scopes)
    return LAUNCH_PATIENT in scopes or any(s is not None and s.level == PATIENT for s in clinical)


def describe(scope: str) -> str:
    """Return what a scope lets an app do, in plain words."""
    clinical = parse_scope(scope)
    if clinical is None:
        return _CONTEXTS.get(scope, scope)
    verbs = [_VERBS[verb] for verb in "rscud" if verb in clinical.verbs]
    spelled = " and ".join([", ".join(verbs[:-1]), verbs[-1]] if len(verbs) > 1 else verbs)
    every = clinical.resource_type == EVERY_TYPE
    what = "all records" if every else f"{clinical.resource_type} records"
    whose = "of this patient" if clinical.level == PATIENT else "that you may use yourself"
    part = f", only those with {clinical.query.replace('&', ' and ')}" if clinical.query else ""
    return f"{spelled.capitalize()} {what} {whose}{part}"
