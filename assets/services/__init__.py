"""All writes of this app, one function each: keyword-only, inside `tenant_scope`, with an actor."""

from assets.services.credentials import set_credentials
from assets.services.deployments import (
    AssetNotInstalled,
    DeploymentBusy,
    SlotUnfilled,
    deploy,
    rollback,
    start,
    stop,
)
from assets.services.health import check, record_check
from assets.services.installations import (
    AlreadyInstalled,
    StillDeployed,
    configure,
    connect,
    install,
    uninstall,
    upgrade,
)

__all__ = [
    "AlreadyInstalled",
    "AssetNotInstalled",
    "DeploymentBusy",
    "SlotUnfilled",
    "StillDeployed",
    "check",
    "configure",
    "connect",
    "deploy",
    "install",
    "record_check",
    "rollback",
    "set_credentials",
    "start",
    "stop",
    "uninstall",
    "upgrade",
]
