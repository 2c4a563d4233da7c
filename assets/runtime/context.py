"""The Context of one call: built from a release inside a short transaction, used outside any."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, cast

from assets import registry
from assets.models import Credential, Deployment, Installation, Release
from assets.registry import Package
from assets.rules import open_rules
from assets.runtime.fhir import FhirHandle
from assets.runtime.http import HttpHandle
from assets.runtime.tokens import Tokens
from assets.sdk import RuleEngine, Slot, stable_id
from healthcloud.secrets import open_sealed
from healthcloud.tenancy.scope import Scope

LogLine = tuple[str, str, dict[str, Any]]


@dataclass
class CallContext:
    """What package code is given; satisfies `sdk.Context`."""

    package: Package
    scope: Scope
    deployment_id: str
    release_number: int
    config: Mapping[str, Any]
    secrets: Mapping[str, str]
    now: datetime
    run_id: str
    idempotency_key: str
    parent: Mapping[str, str] | None = None
    """The step of a workflow that calls: `{"run_id", "step_id"}`."""
    slots: Mapping[str, Slot] = field(default_factory=dict)
    lines: list[LogLine] = field(default_factory=list)

    @property
    def asset_id(self) -> str:
        """The asset's id."""
        return self.package.manifest.id

    @property
    def asset_version(self) -> str:
        """The asset's version."""
        return self.package.manifest.version

    @property
    def organization_id(self) -> str:
        """The organization."""
        return self.scope.organization_id

    @property
    def project_id(self) -> str:
        """The project."""
        return self.scope.project_id or ""

    @property
    def environment(self) -> Literal["sandbox", "production"]:
        """The environment."""
        return cast("Literal['sandbox', 'production']", self.scope.environment)

    @property
    def device(self) -> str:
        """This deployment as a FHIR Device."""
        return f"Device/{self.deployment_id}"

    @cached_property
    def fhir(self) -> FhirHandle:
        """Reads of the project's clinical data."""
        declared = self.package.manifest.provides.fhir
        return FhirHandle(self.scope, self.now, frozenset((*declared.reads, *declared.creates)))

    @cached_property
    def http(self) -> HttpHandle:
        """The way out."""
        return HttpHandle(tuple(self.package.manifest.network(self.config)), self.scope.environment)

    @cached_property
    def tokens(self) -> Tokens:
        """Access tokens, shared by all processes."""
        return Tokens(self.scope, self.asset_id)

    @cached_property
    def rules(self) -> RuleEngine:
        """The guideline engine on the package's `rules/` folder."""
        return cast(RuleEngine, open_rules(self.package.directory / "rules"))

    def resource_id(self, name: str) -> str:
        """Return an id that a retry of this call gets again."""
        return stable_id(self.deployment_id, self.idempotency_key, name)

    def log(self, message: str, **fields: str | int | float | bool | None) -> None:
        """Add a line to the deployment's log; it is stored with the call's outcome."""
        if len(self.lines) < 200:
            self.lines.append(("info", message[:500], dict(fields)))

    def clock(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()


def secrets_of(installation: Installation, scope: Scope) -> dict[str, str]:
    """Return the opened secrets; in the sandbox, the simulator's own where none is set."""
    manifest = registry.get(installation.asset_id)
    found = {
        item.name: item.sandbox_default
        for item in manifest.secrets
        if item.sandbox_default is not None and scope.environment == "sandbox"
    }
    for credential in Credential.objects.filter(installation=installation):
        found[credential.name] = open_sealed(scope, credential.sealed)
    return found


def context_of(
    deployment: Deployment,
    release: Release,
    *,
    scope: Scope,
    now: datetime,
    run_id: str,
    idempotency_key: str,
) -> CallContext:
    """Return the context of a call of a deployment's release; runs inside its tenant scope."""
    return CallContext(
        package=registry.package(deployment.asset_id),
        scope=scope,
        deployment_id=deployment.id,
        release_number=release.number,
        config=release.config,
        secrets=secrets_of(deployment.installation, scope),
        now=now,
        run_id=run_id,
        idempotency_key=idempotency_key,
    )


def installation_context(
    installation: Installation, config: Mapping[str, Any], *, scope: Scope, now: datetime
) -> CallContext:
    """Return the context of a connection test before there is a deployment."""
    return CallContext(
        package=registry.package(installation.asset_id),
        scope=scope,
        deployment_id="",
        release_number=0,
        config=config,
        secrets=secrets_of(installation, scope),
        now=now,
        run_id="",
        idempotency_key=installation.id,
    )
