"""All that an asset package may import: the contract between a package and the platform.

A package is a folder with `asset.yaml` and code. The code subclasses one of `Agent`, `Connector`,
`Model`, `Dataset` or `App`; the manifest's `entry_point` names the class. The platform makes one
instance per call, hands it a `Context`, and takes back a `Result`.

Two phases. Package code runs first, outside any transaction: it reads FHIR, calls vendors through
`context.http`, and *returns* what it wants written. The platform then writes everything (FHIR
resources, Provenance, events, run record) in one transaction, and only after its commit calls
`Connector.acknowledge` for each receipt. So package code never writes, and nothing is lost between
a vendor's message and our store.

This module is pure: no Django, no HTTP client, no clock.
"""

from assets.sdk.context import (
    Context,
    Evaluation,
    FhirReader,
    HttpClient,
    HttpResponse,
    RuleEngine,
    Slot,
    TokenCache,
)
from assets.sdk.errors import AssetError
from assets.sdk.kinds import Agent, App, Asset, Connector, Dataset, Model
from assets.sdk.probes import Probe, Step, probe, probes, unreachable
from assets.sdk.values import (
    AIAST,
    Emit,
    Evidence,
    Json,
    Query,
    Resource,
    Result,
    RuleOutcome,
    SlotResult,
    StoredResource,
    Write,
    stable_id,
)

__all__ = [
    "AIAST",
    "Agent",
    "App",
    "Asset",
    "AssetError",
    "Connector",
    "Context",
    "Dataset",
    "Emit",
    "Evaluation",
    "Evidence",
    "FhirReader",
    "HttpClient",
    "HttpResponse",
    "Json",
    "Model",
    "Probe",
    "Query",
    "Resource",
    "Result",
    "RuleEngine",
    "RuleOutcome",
    "Slot",
    "SlotResult",
    "Step",
    "StoredResource",
    "TokenCache",
    "Write",
    "probe",
    "probes",
    "stable_id",
    "unreachable",
]
