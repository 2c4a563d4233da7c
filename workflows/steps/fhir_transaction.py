"""`fhir_transaction`: write several resources, all or none; the output is the answer's Bundle."""

from typing import Any

from fhir import store
from workflows.steps.errors import InvalidArgument
from workflows.steps.registry import Call, register


def transact(call: Call) -> Any:  # noqa: ANN401  # a Bundle
    """Do a transaction in the step's own transaction."""
    bundle = call.arguments["bundle"]
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        raise InvalidArgument("with.bundle must be a Bundle")
    if bundle.get("type") != "transaction":
        raise InvalidArgument("with.bundle must be of type `transaction`: all or none is written")
    return store.transaction(bundle=bundle, actor=call.actor, now=call.now)


register("fhir_transaction", transact)
