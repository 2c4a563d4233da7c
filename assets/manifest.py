"""The manifest of an asset, `asset.yaml`: its model, its published JSON Schema, its loader. Pure.

```yaml
manifest_version: 1
kind: connector                     # app | agent | model | dataset | connector
slug: quest_diagnostics             # the asset id is then connector_quest_diagnostics_v1
version: 1.0.0
aliases: [quest]                    # other names that install and deploy accept
name: Quest Diagnostics
summary: One line for the catalog.
publisher: HealthCloud
license: Apache-2.0
categories: [laboratory]
entry_point: connector:QuestConnector   # module inside the package : class
provides:
  capabilities: [lab-results]       # what fills a slot
  actions:                          # connectors; agents and models give input_schema instead
    - {name: retrieve_results, title: Retrieve results, effect: keyed, input_schema: {…}}
  workflows: [workflows/uti_screening.json]     # definitions that an installation brings
  events: [diagnostic.result_ready]
  fhir: {reads: [Patient], creates: [Observation]}
requires:
  - {slot: lab_source, kind: connector, capability: lab-results, optional: true}
  - {asset: agent_diagnostic_v1}    # apps: installed along
permissions: {fhir_scopes: [system/Patient.r], network: ["${config.base_url}"], phi: read_write}
config:
  schema: {type: object, properties: {…}}   # JSON Schema 2020-12 with the x-hc-* words
secrets:
  - {name: client_secret, label: Client secret, required: true, sandbox_default: sandbox-secret}
model_card: {…}                     # agents and models
tests: {cases: ["cases/*.yaml"]}
```
"""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import jsonschema
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

Kind = Literal["app", "agent", "model", "dataset", "connector"]
Effect = Literal["none", "keyed", "unkeyed"]
SLUG = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
VERSION = r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$"
_VARIABLE = re.compile(r"\$\{([a-z_]+)\}")
_CONFIG_REFERENCE = re.compile(r"^\$\{config\.([a-z0-9_]+)\}$")
CALLS_PER_MINUTE: Final = {
    "type": "integer",
    "minimum": 1,
    "maximum": 100_000,
    "title": "Calls a minute",
    "description": "What the vendor allows; steps of workflows wait for their turn.",
}
"""A setting of every connector; `assets.runtime.budgets` keeps it."""


class ManifestError(Exception):
    """An `asset.yaml` that can't be used; `problems` say where and why."""

    def __init__(self, source: str, problems: list[str]) -> None:
        super().__init__(f"{source}: " + "; ".join(problems))
        self.problems = problems


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Action(_Part):
    """Something a connector does. `effect` says what a retry may do at the vendor."""

    name: str = Field(pattern=SLUG)
    title: str
    description: str = ""
    effect: Effect = "none"
    input_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})
    output_schema: dict[str, Any] = Field(default_factory=lambda: {"type": "object"})


class FhirUse(_Part):
    """The resource types that the asset reads and creates."""

    reads: tuple[str, ...] = ()
    creates: tuple[str, ...] = ()


class Provides(_Part):
    """What an installation or a deployment of the asset offers."""

    capabilities: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    input_schema: dict[str, Any] | None = None
    output_schema: dict[str, Any] | None = None
    workflows: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    cds_services: tuple[str, ...] = ()
    fhir: FhirUse = FhirUse()


class Requirement(_Part):
    """Either a slot that a deployment fills, or an asset that must be installed along."""

    slot: str | None = Field(default=None, pattern=SLUG)
    kind: Kind | None = None
    capability: str | None = None
    optional: bool = False
    title: str = ""
    description: str = ""
    asset: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> "Requirement":
        if (self.slot is None) == (self.asset is None):
            raise ValueError("name either a slot or an asset")
        if self.slot is not None and (self.kind is None or self.capability is None):
            raise ValueError("a slot names its kind and capability")
        return self


class Permissions(_Part):
    """What the asset may touch."""

    fhir_scopes: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    phi: Literal["none", "read", "read_write"] = "none"
    side_effects: Literal["none", "external_read", "external_submit"] = "none"


class ConfigSpec(_Part):
    """The configuration: a JSON Schema, and defaults by environment."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    json_schema: dict[str, Any] = Field(
        default_factory=lambda: {
            "type": "object",
            "properties": {},
            "additionalProperties": False,
        },
        alias="schema",
    )
    defaults: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("json_schema")
    @classmethod
    def _is_a_schema(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            jsonschema.Draft202012Validator.check_schema(value)
        except jsonschema.SchemaError as error:
            raise ValueError(f"config.schema is not a JSON Schema: {error.message}") from error
        if value.get("type") != "object":
            raise ValueError("config.schema describes an object")
        return value


class Secret(_Part):
    """A credential. `sandbox_default` lets the sandbox start with the simulator's own."""

    name: str = Field(pattern=SLUG)
    label: str
    help: str = ""
    required: bool = True
    multiline: bool = False
    rotation_days: int | None = None
    sandbox_default: str | None = None


class Health(_Part):
    """How often a deployment is probed, in seconds."""

    check: bool = True
    interval: int = 300
    timeout: int = 20
    unhealthy_after: int = 3


class Engine(_Part):
    """What the asset runs on."""

    healthcloud: str = ">=0.1"
    fhir: Literal["R4"] = "R4"


class Manifest(_Part):
    """A valid `asset.yaml`, and where its package lies."""

    manifest_version: Literal[1] = 1
    kind: Kind
    slug: str = Field(pattern=SLUG, max_length=40)
    version: str = Field(pattern=VERSION)
    aliases: tuple[str, ...] = ()
    name: str = Field(min_length=1, max_length=80)
    summary: str = Field(min_length=1, max_length=200)
    description: str = ""
    icon: str = ""
    publisher: str = "HealthCloud"
    license: str = "Apache-2.0"
    homepage: str = ""
    support: str = ""
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    engine: Engine = Engine()
    entry_point: str | None = Field(default=None, pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")
    provides: Provides = Provides()
    requires: tuple[Requirement, ...] = ()
    permissions: Permissions = Permissions()
    config: ConfigSpec = ConfigSpec()
    secrets: tuple[Secret, ...] = ()
    health: Health = Health()
    changelog: tuple[str, ...] = ()
    model_card: dict[str, Any] | None = None
    tests: dict[str, tuple[str, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> "Manifest":
        if self.kind != "app" and self.entry_point is None:
            raise ValueError(f"a {self.kind} names its entry_point")
        if self.kind == "connector" and not self.provides.actions:
            raise ValueError("a connector provides at least one action")
        if self.kind in ("agent", "model") and self.model_card is None:
            raise ValueError(f"a {self.kind} has a model_card")
        return self

    @model_validator(mode="after")
    def _offers_a_budget(self) -> "Manifest":
        """Let every connector's configuration say how often its vendor may be called."""
        if self.kind == "connector":
            properties = self.config.json_schema.setdefault("properties", {})
            properties.setdefault("calls_per_minute", {**CALLS_PER_MINUTE})
        return self

    @cached_property
    def id(self) -> str:
        """The asset id, `<kind>_<slug>_v<major>`."""
        return f"{self.kind}_{self.slug}_v{self.version.split('.')[0]}"

    @property
    def slots(self) -> tuple[Requirement, ...]:
        """The slots that a deployment fills, in the manifest's order."""
        return tuple(item for item in self.requires if item.slot is not None)

    @property
    def required_assets(self) -> tuple[str, ...]:
        """The assets that are installed along."""
        return tuple(item.asset for item in self.requires if item.asset is not None)

    def action(self, name: str) -> Action | None:
        """Return the connector's action of this name."""
        return next((item for item in self.provides.actions if item.name == name), None)

    def config_defaults(
        self, environment: str, variables: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the schema's defaults with those of the environment laid over them.

        A property's default per environment stands in `x-hc-env: {sandbox: …, production: …}`;
        `${name}` in such a text is replaced from `variables` (`simulator_url`).
        """
        properties = self.config.json_schema.get("properties", {})
        defaults = {name: spec["default"] for name, spec in properties.items() if "default" in spec}
        for name, spec in properties.items():
            by_environment = spec.get("x-hc-env", {})
            if environment in by_environment:
                defaults[name] = by_environment[environment]
        defaults |= self.config.defaults.get(environment, {})
        return {name: _fill(value, variables or {}) for name, value in defaults.items()}

    def network(self, config: Mapping[str, Any]) -> list[str]:
        """Return the hosts or base addresses that this configuration allows calls to."""
        allowed = []
        for entry in self.permissions.network:
            reference = _CONFIG_REFERENCE.match(entry)
            value = config.get(reference.group(1)) if reference else entry
            if isinstance(value, str) and value:
                allowed.append(value)
        return allowed


def _fill(value: Any, variables: Mapping[str, str]) -> Any:  # noqa: ANN401 (any JSON value)
    if not isinstance(value, str):
        return value
    return _VARIABLE.sub(lambda match: variables.get(match.group(1), match.group(0)), value)


def parse(text: str, *, source: str) -> Manifest:
    """Return the manifest in `text` (YAML); raise ManifestError with every problem found."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ManifestError(source, [f"not YAML: {error}"]) from error
    if not isinstance(document, dict):
        raise ManifestError(source, ["not a mapping"])
    try:
        return Manifest.model_validate(document)
    except ValidationError as error:
        problems = [
            f"{'.'.join(str(part) for part in item['loc']) or 'manifest'}: {item['msg']}"
            for item in error.errors()
        ]
        raise ManifestError(source, problems) from error


def load(path: Path) -> Manifest:
    """Return the manifest in the file at `path`."""
    return parse(path.read_text(encoding="utf-8"), source=str(path))


def json_schema() -> dict[str, Any]:
    """Return the published JSON Schema of `asset.yaml`."""
    return Manifest.model_json_schema(by_alias=True)
