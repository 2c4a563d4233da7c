"""Calls into package code, one way for each kind of asset."""

from collections.abc import Iterable

from assets import configuration
from assets.runtime import budgets
from assets.runtime.context import CallContext
from assets.sdk import (
    Agent,
    Asset,
    AssetError,
    Connector,
    Dataset,
    Json,
    Model,
    Result,
)
from healthcloud.errors import ValidationFailed


class ActionInvalid(ValidationFailed):
    """The asset has no such action, or takes none."""


def run_package(context: CallContext, action: str | None, input: Json) -> list[Result]:
    """Return what the package makes of `input`; datasets return several results.

    Raises InputInvalid and ActionInvalid (422) before any code runs, and AssetError for a
    spent budget and for what the package names; any other exception of the package becomes
    AssetError `asset_broken`.
    """
    check_call(context, action, input)
    budgets.take(context)
    try:
        return list(_call(context.package.instantiate(), context, action, input))
    except AssetError as error:
        raise _judged(context, action, error) from error
    except Exception as error:  # package code is not ours: its faults must not become ours
        raise AssetError(
            "asset_broken",
            f"{context.asset_id} raised {type(error).__name__}.",
            remedy="Report it to the asset's publisher.",
        ) from error


def check_call(context: CallContext, action: str | None, input: Json) -> None:
    """Raise ActionInvalid or InputInvalid unless the call is one that the manifest allows."""
    provides = context.package.manifest.provides
    if context.package.manifest.kind != "connector":
        if action is not None:
            raise ActionInvalid(f"{context.asset_id} takes no action.", param="action")
        configuration.check_input(provides.input_schema, input)
        return
    names = ", ".join(item.name for item in provides.actions)
    if action is None:
        raise ActionInvalid(f"Name the action: one of {names}.", param="action")
    found = context.package.manifest.action(action)
    if found is None:
        raise ActionInvalid(
            f"{context.asset_id} has no action {action!r}; it has {names}.", param="action"
        )
    configuration.check_input(found.input_schema, input)


def _call(
    instance: Asset, context: CallContext, action: str | None, input: Json
) -> Iterable[Result]:
    match instance:
        case Agent():
            return [instance.run(context, input)]
        case Connector():
            return [instance.invoke(context, action or "", input)]
        case Model():
            return [instance.predict(context, input)]
        case Dataset():
            return instance.load(context, input)
        case _:
            raise AssetError(
                "not_invocable",
                f"{context.asset_id} is an app: run the assets that it brings.",
            )


def _judged(context: CallContext, action: str | None, error: AssetError) -> AssetError:
    """Return the error; one whose effect at the vendor is unknown is not retried blindly."""
    found = context.package.manifest.action(action) if action else None
    unkeyed = found is not None and found.effect == "unkeyed"
    if not (unkeyed and error.details.get("outcome_unknown")):
        return error
    return AssetError(
        "outcome_unknown",
        f"{error.message} Whether it took effect is not known.",
        remedy="Look at the vendor's side, then decide whether to send it again.",
        details=error.details,
    )
