"""The buttons of the checklist on Home: each makes the same calls that the API would."""

from django.http import HttpResponse

from assets import queries, services
from assets.models import Installation
from assets.sdk import AssetError
from fhir import search
from healthcloud.tenancy.scope import tenant_scope
from studio.clinical import name_of
from studio.first_steps import AGENT, CONNECTOR, DATASET, WORKFLOW
from studio.page import Page, studio_page
from studio.views.invocations import invoke
from workflows import runs


@studio_page("home", needs="asset.install", writes=True)
def install_agent(page: Page) -> HttpResponse:
    """Step 1: install the Diagnostic Agent."""
    installed(page, AGENT)
    page.say("The Diagnostic Agent is installed, with the workflow uti_screening.")
    return page.redirect("home")


@studio_page("home", needs="asset.install", writes=True, tenant=False)
def connect_quest(page: Page) -> HttpResponse:
    """Step 2: install the Quest connector and, in the sandbox, test it with its defaults."""
    with tenant_scope(page.scope):
        installation = installed(page, CONNECTOR)
    if not page.is_sandbox:
        return page.redirect("installation", installation.id)
    _, probes = services.check(
        scope=page.scope, installation_id=installation.id, actor=page.actor, now=page.now
    )
    failed = next((probe for probe in probes if not probe.ok), None)
    if failed:
        page.warn(f"{failed.message} {failed.remedy or ''}")
        return page.redirect("installation", installation.id)
    page.say("Quest Diagnostics is connected.")
    return page.redirect("home")


@studio_page("home", needs="deployment.write", writes=True)
def deploy_both(page: Page) -> HttpResponse:
    """Step 3: deploy the connector, then the agent that uses it."""
    for asset_id in (CONNECTOR, AGENT):
        services.deploy(
            asset_id=asset_id, environment=page.environment, actor=page.actor, now=page.now
        )
    page.say("Both deployments are on their way.")
    return page.redirect("home")


@studio_page("home", needs="workflow.run", writes=True)
def run_screening(page: Page) -> HttpResponse:
    """Step 4: run the screening for the chosen patient, and watch it."""
    run = runs.start(
        workflow=WORKFLOW,
        input={"patient_id": page.request.POST.get("patient_id", "")},
        trigger="studio",
        actor=page.actor,
        now=page.now,
    )
    return page.redirect("run", run.id)


@studio_page("home", needs="asset.install", writes=True)
def get_patients(page: Page) -> HttpResponse:
    """Install and deploy the synthetic patients, so that there is someone to screen."""
    installed(page, DATASET)
    services.deploy(asset_id=DATASET, actor=page.actor, now=page.now)
    page.say("The dataset is starting. Load its patients in a moment.")
    return page.redirect("home")


@studio_page("home", needs="agent.run", writes=True, tenant=False)
def load_patients(page: Page) -> HttpResponse:
    """Load the patients of the deployed dataset; no transaction is open while they are made."""
    with tenant_scope(page.scope):
        deployment = queries.deployment_of(DATASET, page.project.id)
    if deployment is None:
        return page.redirect("home")
    try:
        outcome = invoke(page, deployment.id, input={})
        page.say(f"{outcome.output.get('patients', 'The')} synthetic patients are here.")
    except AssetError as error:
        page.warn(f"{error.message} {error.remedy or ''}")
    return page.redirect("home")


def installed(page: Page, asset_id: str) -> Installation:
    """Return the project's installation of an asset, made now if there is none."""
    found = queries.installation_of(asset_id, page.project.id)
    return found or services.install(asset_id=asset_id, actor=page.actor, now=page.now)


def some_patients(page: Page) -> list[tuple[str, str]]:
    """Return id and name of the patients to choose from in step 4."""
    query = [("_count", "50"), ("_sort", "-_lastUpdated")]
    found = search.search(resource_type="Patient", query=query, now=page.now).entries
    return [(stored.id, name_of(stored.resource)) for stored in found]
