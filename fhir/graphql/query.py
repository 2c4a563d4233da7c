"""Parse a query and run it. https://hl7.org/fhir/R4/graphql.html"""

from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from graphql import (
    FragmentDefinitionNode,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    parse,
    value_from_ast_untyped,
)

from fhir.documents import JsonObject
from fhir.graphql.errors import InvalidQuery
from fhir.graphql.execution import Execution
from fhir.graphql.loading import Loader
from fhir.graphql.mutations import Mutations
from fhir.graphql.roots import Roots
from fhir.operations.operation import Call

_MAX_TOKENS: Final = 5000


def run(
    query: str,
    variables: Mapping[str, Any],
    name: str,
    *,
    call: Call,
    resource: JsonObject | None,
) -> JsonObject:
    """Return the data of a query over the server or over one resource, or of a mutation.

    Raises InvalidQuery for what does not parse or does not exist. A mutation writes all that it
    names or nothing.
    """
    try:
        document = parse(query, max_tokens=_MAX_TOKENS)
    except GraphQLSyntaxError as error:
        raise InvalidQuery(f"The query does not parse: {error.message}", param="query") from error
    operations = [d for d in document.definitions if isinstance(d, OperationDefinitionNode)]
    operation = _chosen(operations, name)
    fragments = {
        d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)
    }
    given = _with_defaults(operation, variables)
    execution = Execution(fragments, given, Roots(Loader(call)))
    if operation.operation is OperationType.MUTATION:
        if resource is not None or call.method != "POST":
            raise InvalidQuery("Mutations are sent to /v1/fhir/$graphql by POST.", param="query")
        with transaction.atomic():
            return execution.mutate(operation.selection_set, Mutations(call))
    if resource is not None:
        return execution.resource(operation.selection_set, resource, 0)
    return execution.start(operation.selection_set)


def _chosen(operations: list[OperationDefinitionNode], name: str) -> OperationDefinitionNode:
    found = [o for o in operations if not name or (o.name and o.name.value == name)]
    if len(found) != 1:
        raise InvalidQuery(
            "Name one of the operations of the document: `operationName`.", param="operationName"
        )
    if found[0].operation is OperationType.SUBSCRIPTION:
        raise InvalidQuery("Subscriptions are resources here: create one.", param="query")
    return found[0]


def _with_defaults(
    operation: OperationDefinitionNode, variables: Mapping[str, Any]
) -> dict[str, Any]:
    given = dict(variables)
    for definition in operation.variable_definitions or ():
        name = definition.variable.name.value
        if name not in given and definition.default_value is not None:
            given[name] = value_from_ast_untyped(definition.default_value)
        if name not in given and definition.type.kind == "non_null_type":
            raise InvalidQuery(f"The variable `${name}` is required.", param="variables")
    return given
