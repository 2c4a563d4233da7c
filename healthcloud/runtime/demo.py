"""The demonstration: an organization with a project, then the five steps over the HTTP API.

The organization, its first user and its keys are made by the same services as Studio's; everything
after that is an ordinary client's requests.
"""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from healthcloud.actors import SYSTEM
from healthcloud.api.principal import ALL_SCOPES
from healthcloud.http import OutboundClient, OutboundError, Response, client
from healthcloud.organizations.models import Environment, Organization, Project, User
from healthcloud.organizations.services import create_api_key, create_organization, create_project
from healthcloud.runtime import local

ORGANIZATION: Final = "Riverside Health"
PROJECT: Final = "UTI Screening"
EMAIL: Final = "demo@riverside.example"
DATASET: Final = "dataset_synthetic_patients_v1"
AGENT: Final = "agent_diagnostic_v1"
CONNECTOR: Final = "connector_quest_diagnostics_v1"
PATIENT: Final = "pat_camila"
_ACTIVE_SECONDS: Final = 60.0
_RUN_SECONDS: Final = 30

Say = Callable[[str], None]
Json = dict[str, object]
Body = Mapping[str, object]


class DemonstrationFailed(RuntimeError):
    """A step did not do what it should; the message says which and what was answered."""


@dataclass(frozen=True)
class Access:
    """What a developer needs to use the demonstration's project."""

    organization_id: str
    project_id: str
    sandbox_key: str
    production_key: str
    email: str
    password: str

    def as_state(self) -> Json:
        """Return the members of `local.json`."""
        return {
            "organization_id": self.organization_id,
            "project_id": self.project_id,
            "sandbox_key": self.sandbox_key,
            "production_key": self.production_key,
            "user": {"email": self.email, "password": self.password},
        }


def create_access() -> Access:
    """Create organization, project, user and one key for each environment.

    What is there already, of a demonstration that broke off or was forgotten, is used again.
    """
    now = datetime.now(UTC)
    password = secrets.token_urlsafe(12)
    user = User.objects.filter(email=EMAIL).first()
    if user is None:
        user = User.objects.create_superuser(EMAIL, password, name="Dana Demo")
    else:
        user.set_password(password)
        user.save(update_fields=["password"])
    organization = _organization(user, now)
    project = Project.objects.filter(organization=organization, name=PROJECT).first()
    if project is None:
        project = create_project(
            organization_id=organization.pk, name=PROJECT, actor=SYSTEM, now=now
        )
    issued = {
        environment.kind: create_api_key(
            environment=environment,
            name=f"Demonstration ({environment.kind})",
            scopes=ALL_SCOPES,
            actor=SYSTEM,
            now=now,
        ).secret
        for environment in Environment.objects.filter(organization=organization)
    }
    return Access(
        organization_id=organization.pk,
        project_id=project.pk,
        sandbox_key=issued[Environment.Kind.SANDBOX],
        production_key=issued[Environment.Kind.PRODUCTION],
        email=EMAIL,
        password=password,
    )


def _organization(owner: User, now: datetime) -> Organization:
    """Return the demonstration's organization, whole; one whose making broke off is left."""
    active = Environment.objects.filter(
        organization__name=ORGANIZATION,
        organization__memberships__user=owner,
        kind=Environment.Kind.SANDBOX,
        status="active",
    )
    for environment in active.select_related("organization"):
        return environment.organization
    return create_organization(name=ORGANIZATION, owner=owner, actor=SYSTEM, now=now)


def access_from_state(state: Mapping[str, object]) -> Access | None:
    """Return the access that `local.json` remembers, if its project still exists."""
    user = state.get("user")
    if not isinstance(user, dict) or not state.get("project_id"):
        return None
    projects = Project.objects.filter(
        pk=str(state["project_id"]), organization_id=str(state["organization_id"])
    )
    if not projects.exists():
        return None
    return Access(
        organization_id=str(state["organization_id"]),
        project_id=str(state["project_id"]),
        sandbox_key=str(state["sandbox_key"]),
        production_key=str(state["production_key"]),
        email=str(user["email"]),
        password=str(user["password"]),
    )


def where(home: Path) -> list[str]:
    """Return the lines that say how to go on, from `local.json`."""
    state = local.read_state(home)
    user = state["user"]
    return [
        "",
        f"Studio      {state['studio_url']}   {user['email']}  {user['password']}",
        f"Explorer    {state['base_url']}/explorer",
        f"API key     {state['sandbox_key']}   (sandbox; more in {home / 'local.json'})",
    ]


def was_done(home: Path) -> bool:
    """Tell whether the platform that runs still has what was demonstrated in it."""
    state = local.read_state(home)
    if not state.get("demonstrated"):
        return False
    http = client(allow_hosts=None, allow_loopback=True, timeout=10.0)
    headers = {"Authorization": f"Bearer {state['sandbox_key']}"}
    address = f"{state['base_url']}/v1/projects/{state['project_id']}"
    try:
        return http.request("GET", address, headers=headers).ok
    except OutboundError:
        return False


class Demonstration:
    """The five steps of a diagnostic app, as requests to a running platform."""

    def __init__(self, base_url: str, simulator_url: str, access: Access, *, say: Say) -> None:
        self.base_url = base_url
        self.simulator_url = simulator_url
        self.access = access
        self.say = say
        self.http: OutboundClient = client(allow_hosts=None, allow_loopback=True, timeout=60.0)

    def run(self) -> None:
        """Load the patients, then install, configure, deploy, run, and show the events."""
        self.load_patients()
        self.install()
        self.configure()
        self.deploy()
        last = self.last_sequence()
        run = self.run_workflow()
        self.show_events(after=last, run_id=str(run["id"]))

    def load_patients(self) -> None:
        """Install, deploy and load the synthetic patients."""
        begun = time.monotonic()
        self._install(DATASET)
        deployment = self._deploy(DATASET, {})
        answer = self._post(f"deployments/{deployment['id']}/invoke", {"input": {}})
        seconds = time.monotonic() - begun
        loaded = json.dumps(answer.get("output"))[:160]
        self.say(f"   Synthetic patients loaded in {seconds:.1f} s: {loaded}")

    def install(self) -> None:
        """Step 1: install the agent, which brings its workflow, and the connector."""
        self.say("1. Install the Diagnostic Agent              POST /v1/assets/install")
        self._install(AGENT)
        self._install(CONNECTOR)

    def configure(self) -> None:
        """Step 2: test the integration's connection."""
        self.say("2. Configure Quest Diagnostics               POST …/{id}/check")
        installed = self._get(f"asset-installations?project_id={self.access.project_id}&limit=100")
        for item in _rows(installed):
            if item["asset_id"] == CONNECTOR:
                result = self._post(f"asset-installations/{item['id']}/check", {})
                for probe in _rows(result, "probes"):
                    mark = "ok" if probe.get("ok") else "failed"
                    self.say(f"     {probe.get('name')}: {mark} ({probe.get('ms')} ms)")

    def deploy(self) -> None:
        """Step 3: deploy connector and agent."""
        self.say("3. Deploy both into the sandbox              POST /v1/deployments")
        self._deploy(CONNECTOR, {})
        self._deploy(AGENT, {"labs": "quest_diagnostics"})

    def run_workflow(self) -> Json:
        """Step 4: a result arrives at the laboratory; run the screening."""
        self.say(f"4. Run uti_screening for {PATIENT}          POST /v1/workflows/run")
        self._report_result()
        body = {
            "workflow_id": "uti_screening",
            "project_id": self.access.project_id,
            "input": {"patient_id": PATIENT},
            "wait": _RUN_SECONDS,
        }
        run = self._post("workflows/run", body)
        if run.get("status") != "completed":
            raise DemonstrationFailed(f"The run ended as {run.get('status')}: {run.get('error')}")
        self.say(f"     {run['id']} completed: {json.dumps(run.get('output'))}")
        return run

    def show_events(self, *, after: int, run_id: str) -> None:
        """Step 5: show what the event stream tells of the run."""
        self.say("5. Receive events                            GET /v1/events")
        path = f"events?after={after}&limit=100&project_id={self.access.project_id}"
        events = sorted(_rows(self._get(path)), key=lambda event: int(str(event["sequence"])))
        for event in events:
            self.say(f"     {event['sequence']:>5}  {event['type']}")
        missing = {"diagnostic.result_ready", "workflow.completed"} - {
            str(event["type"]) for event in events
        }
        if missing:
            raise DemonstrationFailed(f"These events did not come: {', '.join(sorted(missing))}")

    def last_sequence(self) -> int:
        """Return the sequence of the newest event."""
        newest = _rows(self._get(f"events?limit=1&project_id={self.access.project_id}"))
        return int(str(newest[0]["sequence"])) if newest else 0

    def _report_result(self) -> None:
        """Let the laboratory's simulator finish a urinalysis of the showcase patient."""
        patient = self._get(f"fhir/Patient/{PATIENT}")
        name, identifier = _first(patient, "name"), _first(patient, "identifier")
        given = name.get("given")
        body = {
            "client_id": f"sandbox-{self.access.project_id}",
            "client_secret": "sandbox-secret",
            "panel": "uti_positive",
            "patient": {
                "mrn": identifier.get("value"),
                "family": name.get("family"),
                "given": given[0] if isinstance(given, list) else None,
                "birth_date": patient.get("birthDate"),
                "gender": patient.get("gender"),
            },
        }
        url = f"{self.simulator_url}/quest/_sandbox/results"
        answer = self.http.request("POST", url, json=body)
        self._check(answer, "POST /quest/_sandbox/results")

    def _install(self, asset_id: str) -> None:
        body = {"asset_id": asset_id, "project_id": self.access.project_id}
        answer = self._request("POST", "assets/install", body)
        if answer.status != 409:  # 409: it is installed already
            self._check(answer, "POST /v1/assets/install")

    def _deploy(self, asset_id: str, config: Json) -> Json:
        body = {
            "asset_id": asset_id,
            "environment": "sandbox",
            "project_id": self.access.project_id,
            "config": config,
        }
        deployment = self._post("deployments", body)
        deadline = time.monotonic() + _ACTIVE_SECONDS
        while deployment["status"] not in {"active", "failed"}:
            if time.monotonic() > deadline:
                raise DemonstrationFailed(f"{asset_id} is still {deployment['status']}.")
            time.sleep(0.1)
            deployment = self._get(f"deployments/{deployment['id']}")
        if deployment["status"] == "failed":
            raise DemonstrationFailed(f"{asset_id} failed: {deployment.get('error')}")
        self.say(f"     {asset_id}: {deployment['status']}")
        return deployment

    def _post(self, path: str, body: Body) -> Json:
        return self._check(self._request("POST", path, body), f"POST /v1/{path}")

    def _get(self, path: str) -> Json:
        return self._check(self._request("GET", path, None), f"GET /v1/{path}")

    def _request(self, method: str, path: str, body: Body | None) -> Response:
        headers = {
            "Authorization": f"Bearer {self.access.sandbox_key}",
            "HealthCloud-Project": self.access.project_id,
        }
        address = f"{self.base_url}/v1/{path}"
        try:
            return self.http.request(method, address, headers=headers, json=body)
        except OutboundError as error:
            raise DemonstrationFailed(f"{method} /v1/{path}: {error}") from error

    def _check(self, answer: Response, call: str) -> Json:
        if not answer.ok:
            raise DemonstrationFailed(f"{call} answered {answer.status}: {answer.text[:600]}")
        content = answer.json()
        if not isinstance(content, dict):
            raise DemonstrationFailed(f"{call} answered no object.")
        return dict(content)


def _first(resource: Json, member: str) -> Json:
    values = resource.get(member)
    return dict(values[0]) if isinstance(values, list) and values else {}


def _rows(answer: Mapping[str, object], member: str = "data") -> list[Json]:
    rows = answer.get(member)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


__all__ = [
    "Access",
    "Demonstration",
    "DemonstrationFailed",
    "access_from_state",
    "create_access",
    "was_done",
    "where",
]
