"""What a call gives to an operation, held against its declaration."""

from collections.abc import Iterable

from fhir.documents import ParsedResource
from fhir.operations.operation import GENERAL, Operation
from fhir.operations.parameters import InvalidParameter, Parameters


def given_to(
    operation: Operation, pairs: Iterable[tuple[str, str]], body: ParsedResource | None
) -> tuple[Parameters, ParsedResource | None]:
    """Return the parameters of a call, and the body where it is a resource of its own.

    Raises InvalidParameter for a body that is no Parameters where none may stand for it, and for
    names that the operation does not know.
    """
    pairs = [(name, value) for name, value in pairs if name not in GENERAL]
    given = Parameters.from_query(pairs)
    if body is not None and body.resource_type == "Parameters":
        given = Parameters.from_resource(body.data, pairs)
        body = body if operation.keeps_parameters else None
    elif body is not None and not operation.bare:
        raise InvalidParameter(
            f"Send the parameters of ${operation.name} as a Parameters resource.",
            param="resourceType",
        )
    _check_names(operation, given)
    return given, body


def _check_names(operation: Operation, given: Parameters) -> None:
    unknown = sorted(given.names() - operation.inputs)
    if unknown and not operation.any_input:
        known = ", ".join(sorted(operation.inputs)) or "none"
        raise InvalidParameter(
            f"${operation.name} has no parameter `{unknown[0][:60]}`. It takes: {known}.",
            param=unknown[0],
        )
