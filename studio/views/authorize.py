"""The page on which a person grants an app access: scopes in plain words, and which patient.

https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-authorization-code
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST

from fhir import search, store
from fhir.consents import heeding
from healthcloud.actors import SYSTEM
from healthcloud.api.principal import Principal
from healthcloud.errors import HealthCloudError
from healthcloud.organizations import access, queries
from healthcloud.organizations.models import Project, SmartGrant, User
from healthcloud.organizations.smart import authorization, grants, launches
from healthcloud.organizations.smart.authorization import (
    AuthorizationRefused,
    AuthorizationRequest,
    ClientRefused,
)
from healthcloud.organizations.smart.scopes import (
    FHIR_USER,
    OPENID,
    describe,
    grantable_scopes,
    needs_patient,
)
from healthcloud.tenancy.scope import Scope, tenant_scope
from studio.page import signed_in
from studio.views.records import patient_query, patient_row

RECENT: Final = 100
_SCHEMES: Final = frozenset({"http", "https"})


class _AppRedirect(HttpResponseRedirect):
    """A redirect to an address that was registered, also of an app's own scheme."""

    def __init__(self, address: str) -> None:
        self.allowed_schemes = [*_SCHEMES, address.partition(":")[0]]
        super().__init__(address)


@dataclass(frozen=True)
class Asked:
    """A request in front of a person: what can be granted, where, and in which context."""

    request: AuthorizationRequest
    user: User
    principal: Principal
    scope: Scope
    scopes: Sequence[str]
    context: Mapping[str, object] = field(default_factory=dict)

    @property
    def picks_patient(self) -> bool:
        """Tell whether the person is to choose a patient."""
        return needs_patient(self.scopes) and not self.context.get("patient")


@csrf_exempt
@require_http_methods(["GET", "POST"])
@never_cache
def authorize(request: HttpRequest) -> HttpResponse:
    """Show what an app asks for; a request that came by POST goes on as GET, undecided."""
    if request.method == "POST":
        response = HttpResponseRedirect(f"{request.path}?{request.POST.urlencode()}")
        response.status_code = 303
        return response
    return _show(request)


@login_required
def _show(request: HttpRequest) -> HttpResponse:
    try:
        asked = _read(request, timezone.now())
        if request.GET.get("prompt") == "none":
            raise _refused(asked.request, "interaction_required", "a person decides each time")
        return _page(request, asked)
    except AuthorizationRefused as refusal:
        return _AppRedirect(refusal.address)
    except ClientRefused as error:
        return render(request, "studio/authorize/refused.html", {"error": error}, status=400)


@require_POST
@login_required
@never_cache
def decide(request: HttpRequest) -> HttpResponse:
    """Grant what was chosen, or nothing, and send the person back to the app."""
    now = timezone.now()
    try:
        asked = _read(request, now)
        if request.POST.get("decision") != "allow":
            raise _refused(asked.request, "access_denied", "the person said no")
        scopes = [scope for scope in asked.scopes if scope in request.POST.getlist("scopes")]
        patient = request.POST.get("patient", "") if asked.picks_patient else ""
        if asked.picks_patient and needs_patient(scopes) and not _is_patient(asked, patient):
            return _page(request, asked, problem="Choose the patient first.")
        return _AppRedirect(_grant(request, asked, scopes, patient, now))
    except AuthorizationRefused as refusal:
        return _AppRedirect(refusal.address)
    except ClientRefused as error:
        return render(request, "studio/authorize/refused.html", {"error": error}, status=400)


def _read(request: HttpRequest, now: datetime) -> Asked:
    """Return what is asked of this person; raise ClientRefused or AuthorizationRefused."""
    base = f"{request.scheme}://{request.get_host()}/v1/fhir"
    asked = authorization.read_request(request.GET.dict(), base=base)
    user = signed_in(request)
    key = asked.client.key
    project = key.project
    membership = queries.find_membership(user.pk, organization_id=key.organization_id)
    if membership is None or project is None:
        raise _refused(asked, "access_denied", "the person is no member of the organization")
    if project.status != Project.Status.ACTIVE:
        raise _refused(asked, "access_denied", "the project is archived")
    try:
        principal = access.principal_for_member(membership, key.environment, project)
    except HealthCloudError as error:
        raise _refused(asked, "temporarily_unavailable", error.message) from error
    scopes = grantable_scopes(asked.scopes, of_client=key.scopes, of_person=principal.scopes)
    context = _context(asked, user, now)
    if not context:
        scopes = [scope for scope in scopes if scope not in {"launch", "launch/encounter"}]
    if not scopes:
        raise _refused(asked, "invalid_scope", "nothing of it can be granted by this person")
    scope = heeding(principal.scope_of(principal.project), principal, project, now=now)
    found = Asked(asked, user, principal, scope, scopes, context)
    if context.get("patient") and not _is_patient(found, str(context["patient"])):
        raise _refused(asked, "access_denied", "the patient of the launch is not there")
    return found


def _context(asked: AuthorizationRequest, user: User, now: datetime) -> Mapping[str, object]:
    if not asked.launch:
        return {}
    context = launches.open_launch(asked.launch, asked.client, user, now=now)
    if context is None:
        raise _refused(asked, "invalid_request", "the launch is unknown, used or expired")
    return {"need_patient_banner": True, **context}


def _is_patient(asked: Asked, patient: str) -> bool:
    with tenant_scope(asked.scope):
        try:
            store.read(resource_type="Patient", id=patient)
        except HealthCloudError:
            return False
    return True


def _page(request: HttpRequest, asked: Asked, *, problem: str = "") -> HttpResponse:
    key = asked.request.client.key
    words = request.GET.get("q", "").strip()
    context = {
        "app": key.name,
        "place": f"{key.project.name if key.project else ''} · {key.environment.kind}",
        "is_production": key.environment.kind == "production",
        "person": asked.user,
        "scopes": [{"name": scope, "text": describe(scope)} for scope in asked.scopes],
        "patient": _patient_of_launch(asked),
        "picks_patient": asked.picks_patient,
        "patients": _patients(asked, words) if asked.picks_patient else [],
        "q": words,
        "given": [(name, value) for name, value in request.GET.items() if name != "q"],
        "query": request.GET.urlencode(),
        "problem": problem,
    }
    status = 422 if problem else 200
    response = render(request, "studio/authorize/authorize.html", context, status=status)
    response._csp_update = {"form-action": [asked.request.origin]}  # type: ignore[attr-defined]  # django-csp's
    return response


def _patients(asked: Asked, words: str) -> list[dict[str, object]]:
    now = timezone.now()
    with tenant_scope(asked.scope):
        try:
            found = search.search(resource_type="Patient", query=patient_query(words), now=now)
        except HealthCloudError:  # words that no search understands find nobody
            return []
        return [patient_row(stored, now.date()) for stored in found.entries]


def _patient_of_launch(asked: Asked) -> dict[str, object] | None:
    if not asked.context.get("patient"):
        return None
    with tenant_scope(asked.scope):
        stored = store.read(resource_type="Patient", id=str(asked.context["patient"]))
        return patient_row(stored, timezone.now().date())


def _grant(
    request: HttpRequest, asked: Asked, scopes: Sequence[str], patient: str, now: datetime
) -> str:
    if not scopes:
        raise _refused(asked.request, "access_denied", "the person granted nothing")
    context: dict[str, object] = {**asked.context, "session": request.session.session_key or ""}
    if patient and needs_patient(scopes):
        context |= {"patient": patient, "need_patient_banner": True}
    if "launch/encounter" not in scopes and "launch" not in scopes:
        context.pop("encounter", None)
    if OPENID in scopes and set(FHIR_USER) & set(scopes):
        context["fhir_user"] = _practitioner(asked, now)
    return authorization.grant(
        asked.request, user=asked.user, scopes=scopes, context=context, now=now
    )


def _practitioner(asked: Asked, now: datetime) -> str:
    """Return the reference to the person's Practitioner, made when it is first asked for."""
    user = asked.user
    with tenant_scope(asked.scope):
        try:
            found = store.read(resource_type="Practitioner", id=user.id)
        except HealthCloudError:
            found = store.update(
                resource_type="Practitioner",
                id=user.id,
                resource={
                    "resourceType": "Practitioner",
                    "id": user.id,
                    "active": True,
                    "identifier": [{"system": "urn:healthcloud:user", "value": user.id}],
                    "name": [{"text": user.get_full_name()}],
                    "telecom": [{"system": "email", "value": user.email}],
                },
                actor=SYSTEM,
                now=now,
            )
        return f"Practitioner/{found.id}"


@require_http_methods(["GET", "POST"])
@login_required
@never_cache
def own_grants(request: HttpRequest) -> HttpResponse:
    """Show the apps that the person let in; by POST, end one of them."""
    own = SmartGrant.objects.select_related("key__organization", "key__environment", "key__project")
    own = own.filter(user=signed_in(request), revoked_at=None, key__revoked_at=None)
    if request.method == "POST":
        grant = own.filter(pk=request.POST.get("grant", "")).first()
        if grant is not None:
            grants.revoke_grant(grant, reason="ended by the person", now=timezone.now())
        return HttpResponseRedirect(request.path)
    return render(
        request, "studio/authorize/own.html", {"grants": own.order_by("-created_at")[:RECENT]}
    )


def _refused(asked: AuthorizationRequest, code: str, description: str) -> AuthorizationRefused:
    return AuthorizationRefused(asked, code, description)
