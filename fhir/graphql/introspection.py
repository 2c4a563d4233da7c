"""`__schema` and `__type`: what clients and editors ask before they ask anything else.

https://spec.graphql.org/October2021/#sec-Introspection. The answer is graphql-core's, over a schema
made of the definitions; it is the same for everybody, and the last ones are remembered.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import orjson
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    execute_sync,
    parse,
    print_ast,
    validate,
)

from fhir.graphql.errors import InvalidQuery
from fhir.graphql.schema import schema

INTROSPECTION: Final = frozenset({"__schema", "__type"})


def introspected(
    node: FieldNode, fragments: Mapping[str, FragmentDefinitionNode], variables: Mapping[str, Any]
) -> object:
    """Return the answer to `__schema` or `__type`; raises InvalidQuery."""
    operation = OperationDefinitionNode(
        operation=OperationType.QUERY,
        directives=(),
        variable_definitions=(),
        selection_set=SelectionSetNode(selections=(_plain(node, variables),)),
    )
    used = [fragment for name, fragment in sorted(fragments.items())
            if fragment.type_condition.name.value.startswith("__")]  # fmt: skip
    document = DocumentNode(definitions=(operation, *used))
    return orjson.Fragment(_answer(print_ast(document)))


def _plain(node: FieldNode, variables: Mapping[str, Any]) -> FieldNode:
    """Return the field with its variables put in, so that equal questions are equal texts."""
    text = print_ast(node)
    for name, value in variables.items():
        if isinstance(value, str | bool | int):
            text = text.replace(f"${name}", orjson.dumps(value).decode())
    field = parse("{" + text + "}").definitions[0]
    assert isinstance(field, OperationDefinitionNode)
    [plain] = field.selection_set.selections
    assert isinstance(plain, FieldNode)
    return plain


@lru_cache(maxsize=4)
def _answer(text: str) -> bytes:
    document = parse(text)
    errors = validate(schema(), document)
    if errors:
        raise InvalidQuery(errors[0].message, param="query")
    result = execute_sync(schema(), document)
    if result.errors:
        raise InvalidQuery(result.errors[0].message, param="query")
    [found] = (result.data or {}).values()
    return orjson.dumps(found)
