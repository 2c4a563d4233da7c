"""Consents that hold back a patient's records, in projects that have them enforced.

Who asks, for what and when becomes a setting of the transaction; the policies of the database
(`fhir.migrations.0010_consent`) hold each row against the active Consents of its patient. So what
is denied is not there, on whatever route. https://hl7.org/fhir/R4/consent.html
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Final

import orjson

from fhir import hashes
from fhir.definitions import type_number
from fhir.documents import instant, to_milliseconds
from fhir.indexing import MANY_PATIENTS
from fhir.search.clause import array
from fhir.sight import Settings, in_patients_record, sight_of
from healthcloud.actors import Actor
from healthcloud.api.principal import Principal
from healthcloud.audit import services as audit
from healthcloud.errors import BadRequest, Forbidden
from healthcloud.events.services import publish
from healthcloud.organizations.models import Project
from healthcloud.tenancy.scope import Scope, active_scope

TREATMENT: Final = "TREAT"
BREAK_GLASS: Final = "BTG"
SCOPE: Final = "fhir:break-glass"
MAX_REASON: Final = 200
_ACTIONS: Final = ("access",)


def purpose_of(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the purpose of use that a request states, and why it breaks the glass.

    `X-Break-Glass: reason` does, and so does `Purpose-Of-Use: BTG`. Raises BadRequest for a
    reason or a purpose that can't be kept.
    """
    stated = headers.get("Purpose-Of-Use", "").strip()
    reason = headers.get("X-Break-Glass")
    if stated and not (stated.isascii() and stated.isalnum() and len(stated) <= 20):
        raise BadRequest("`Purpose-Of-Use` is a code of v3-PurposeOfUse, such as TREAT or BTG.")
    if reason is None and stated != BREAK_GLASS:
        return stated or TREATMENT, ""
    text = (reason or "").strip() or ("" if reason is not None else "Purpose-Of-Use: BTG")
    if not text or len(text) > MAX_REASON:
        raise BadRequest(f"`X-Break-Glass` is the reason, in at most {MAX_REASON} characters.")
    return BREAK_GLASS, text


def require_break_glass(principal: Principal) -> None:
    """Refuse to break the glass to who does not hold the right to."""
    if not principal.can(SCOPE):
        raise Forbidden(
            f"Breaking the glass needs the scope `{SCOPE}`.", details={"required_scope": SCOPE}
        )


def record_override(*, actor: Actor, reason: str, now: datetime) -> None:
    """Record in the active tenant that someone set consents aside, and let it be known."""
    audit.record(
        actor=actor,
        action="consent.override",
        target_type="project",
        target_id=active_scope().project_id or "",
        details={"purpose": BREAK_GLASS, "reason": reason},
        now=now,
    )
    payload = {"actor_id": actor.id, "purpose": BREAK_GLASS}
    publish(type="consent.overridden", payload=payload, actor=actor, now=now)


def consent_settings(principal: Principal, *, purpose: str, now: datetime) -> Settings:
    """Return the settings by which the database holds rows against Consents."""
    asker = {
        "type": type_number("Consent"),
        "salts": _salts(),
        "actors": sorted(_names(principal)),
        "actions": list(_ACTIONS),
        "purposes": [purpose],
        "now": instant(now),
    }
    personal = [type_number(name) for name in in_patients_record() if name != "Consent"]
    return (
        ("hc.consent", orjson.dumps(asker).decode()),
        ("hc.consent_types", array(sorted(personal))),
        ("hc.consent_at", to_milliseconds(now).isoformat()),
    )


def heeding(scope: Scope, principal: Principal, project: Project, *, now: datetime) -> Scope:
    """Return the scope in which a person of Studio reads: held to Consents where a project is."""
    if not project.enforces_consent:
        return scope
    sight = sight_of(principal, "cud", anyway=True)
    sight += consent_settings(principal, purpose=TREATMENT, now=now)
    return replace(scope, sight=sight)


def _names(principal: Principal) -> set[str]:
    """Return the references and identifiers by which a Consent may name who asks."""
    found = {principal.actor.id, principal.organization_id}
    found |= {f"Organization/{principal.organization_id}"}
    for user in filter(None, [principal.user_id]):
        found |= {user, f"Practitioner/{user}"}
    for device in filter(None, [principal.key_id, principal.client_id]):
        found |= {device, f"Device/{device}"}
    return found | {name for name in [principal.fhir_user] if name}


def _salts() -> list[str]:
    """Return the parameters of types that name several patients, whom no column can."""
    record = in_patients_record()
    return [
        str(hashes.param_salt(name, code))
        for name in sorted(MANY_PATIENTS & set(record))
        for code in record[name]
    ]
