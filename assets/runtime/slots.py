"""Slots of a call: the deployed connectors and models that the caller's package may invoke."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from assets import configuration
from assets.runtime.context import CallContext
from assets.runtime.packages import run_package
from assets.sdk import AssetError, Json, Result, SlotResult


@dataclass(frozen=True, slots=True)
class Produced:
    """A result, and the context of the package that produced it."""

    context: CallContext
    result: Result


@dataclass(frozen=True, slots=True)
class SlotHandle:
    """A filled slot; what its invocations produce is collected for the caller's commit."""

    name: str
    context: CallContext
    collected: list[Produced] = field(compare=False)

    @property
    def asset_id(self) -> str:
        """The asset that fills the slot."""
        return self.context.asset_id

    @property
    def deployment_id(self) -> str:
        """Its deployment."""
        return self.context.deployment_id

    def invoke(self, action: str | None, input: Json) -> SlotResult:
        """Run an action of the slot's asset; AssetError passes through."""
        try:
            results = run_package(self.context, action, input)
        except configuration.InputInvalid as error:
            raise AssetError(
                "slot_input_invalid", f"Slot `{self.name}`: {error.message}"
            ) from error
        self.collected.extend(Produced(self.context, result) for result in results)
        resources = [write.resource for result in results for write in result.resources]
        output: Json = results[-1].output if results else {}
        return SlotResult(output, resources)


@dataclass(frozen=True, slots=True)
class ClosedSlot:
    """A slot whose deployment was stopped after it was filled: it fails when it is used."""

    name: str
    asset_id: str
    deployment_id: str

    def invoke(self, action: str | None, input: Json) -> SlotResult:
        """Raise AssetError `slot_unavailable`."""
        raise AssetError(
            "slot_unavailable",
            f"The slot `{self.name}` works with {self.asset_id}, which is not running.",
            remedy=f"Start it: POST /v1/deployments/{self.deployment_id}/start.",
        )


Slots = Mapping[str, SlotHandle | ClosedSlot]
