"""Settings, Apps: what people may grant access to, what they granted, and launches from here."""

from django.http import HttpResponse, HttpResponseRedirect

from fhir import store
from healthcloud.errors import NotFound
from healthcloud.organizations.models import SmartGrant
from healthcloud.organizations.smart import clients, grants, launches
from healthcloud.organizations.smart.authorization import origin_of
from healthcloud.tenancy.scope import public_scope
from studio.calls import ApiCall
from studio.forms import AppForm
from studio.handover import hand_over, take
from studio.page import Page, studio_page
from studio.views.settings import environment_of

ISSUED_APP = "studio_issued_app"
RECENT = 50


@studio_page("settings", needs="key.read", tenant=False)
def apps(page: Page) -> HttpResponse:
    """List apps and what people granted them; a new secret is shown once."""
    rows = clients.clients_of(page.organization.id, page.environment)
    found = rows.filter(key__project_id=page.project.id).order_by("key__revoked_at", "-key_id")
    given = SmartGrant.objects.filter(key__in=[app.key_id for app in found], revoked_at=None)
    body: dict[str, object] = {
        "name": "Growth chart",
        "client_type": "public",
        "redirect_uris": ["https://app.example.org/callback"],
        "scopes": ["launch/patient", "openid", "fhirUser", "patient/*.rs"],
    }
    context: dict[str, object] = {
        "tab": "apps",
        "apps": list(found),
        "grants": given.select_related("key", "user").order_by("-created_at")[:RECENT],
        "issued": take(page, ISSUED_APP),
        "form": AppForm(),
        "base": launches.fhir_base(),
        "call": ApiCall("POST", "/v1/smart/clients", body),
    }
    response = page.render("studio/settings/apps.html", context)
    origins = sorted({origin_of(app.launch_uri) for app in found if app.launch_uri})
    if origins:  # a launch leads from a form to the app
        response._csp_update = {"form-action": origins}  # type: ignore[attr-defined]  # django-csp's
    return response


@studio_page("settings", needs="key.create", writes=True, tenant=False)
def create_app(page: Page) -> HttpResponse:
    """Register an app of this project."""
    form = AppForm(page.request.POST)
    if not form.is_valid():
        return page.refuse(form, "apps")
    issued = clients.register_client(
        environment=environment_of(page),
        project_id=page.project.id,
        name=form.cleaned_data["name"],
        kind=form.cleaned_data["kind"],
        redirect_uris=form.cleaned_data["redirect_uris"],
        launch_uri=form.cleaned_data["launch_uri"],
        scopes=form.cleaned_data["scopes"],
        jwks=form.cleaned_data["jwks"],
        jwks_uri=form.cleaned_data["jwks_uri"],
        grantable=page.principal.scopes,
        actor=page.actor,
        now=page.now,
    )
    page.say(f"{issued.client.key.name} is registered.")
    return _show_once(page, issued)


@studio_page("settings", needs="key.create", writes=True, tenant=False)
def rotate_app(page: Page, client_id: str) -> HttpResponse:
    """Give an app a new secret; the old one ends at once."""
    issued = clients.rotate_secret(
        environment=environment_of(page), client_id=client_id, actor=page.actor, now=page.now
    )
    return _show_once(page, issued)


@studio_page("settings", needs="key.revoke", writes=True, tenant=False)
def revoke_app(page: Page, client_id: str) -> HttpResponse:
    """End an app at once."""
    clients.revoke_client(
        environment=environment_of(page), client_id=client_id, actor=page.actor, now=page.now
    )
    page.say("The app is ended. The next request with its tokens is refused.")
    return page.redirect("apps")


@studio_page("settings", needs="key.revoke", writes=True, tenant=False)
def revoke_grant(page: Page, grant_id: str) -> HttpResponse:
    """End what a person granted an app."""
    grant = grants.find_grant(grant_id)
    if grant is None or grant.key.environment_id != page.scope.environment_id:
        raise NotFound(f"There is no grant `{grant_id}` here.")
    grants.revoke_grant(grant, reason="revoked in Studio", now=page.now)
    page.say("The access is ended.")
    return page.redirect("apps")


@studio_page("records", needs="record.read", writes=True)
def launch_app(page: Page, client_id: str) -> HttpResponse:
    """Open an app for a patient, as the person who asks."""
    patient = page.request.POST.get("patient", "")
    if patient:
        store.read(resource_type="Patient", id=patient)
    with public_scope():
        rows = clients.clients_of(page.organization.id, page.environment)
        found = rows.filter(key__project_id=page.project.id, pk=client_id).first()
    if found is None:
        raise clients.ClientNotFound(client_id)
    launch = launches.create_launch(
        client=found,
        context={"patient": patient, "need_patient_banner": True} if patient else {},
        user_id=page.principal.user_id,
        actor=page.actor,
        now=page.now,
    )
    return HttpResponseRedirect(launch.url)


def _show_once(page: Page, issued: clients.IssuedClient) -> HttpResponse:
    if issued.secret:
        hand_over(
            page,
            ISSUED_APP,
            name=issued.client.key.name,
            client_id=issued.client.pk,
            secret=issued.secret,
        )
    return page.redirect("apps")
