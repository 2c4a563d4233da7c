"""The schema of GraphQL, made of R4's definitions. https://hl7.org/fhir/R4/graphql.html#schema

It answers introspection; queries themselves are checked by the definitions while they run, and may
name any search parameter below a resource, too.
"""

from functools import cache, partial
from typing import Final

from graphql import (
    DirectiveLocation,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLDirective,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    GraphQLUnionType,
    specified_directives,
)

from fhir.definitions import reference_parameters, resource_types, search_parameters
from fhir.graphql.elements import Field, Place, fields

Fields = dict[str, GraphQLField]
Arguments = dict[str, GraphQLArgument]

_KNOWN: Final = {
    "boolean": GraphQLBoolean,
    "integer": GraphQLInt,
    "decimal": GraphQLFloat,
    "string": GraphQLString,
    "http://hl7.org/fhirpath/System.String": GraphQLString,
}
_WINDOW: Final[Arguments] = {
    "fhirpath": GraphQLArgument(GraphQLString),
    "_count": GraphQLArgument(GraphQLInt),
    "_offset": GraphQLArgument(GraphQLInt),
}
_PAGE: Final[Arguments] = {
    "_count": GraphQLArgument(GraphQLInt),
    "_cursor": GraphQLArgument(GraphQLString),
    "_sort": GraphQLArgument(GraphQLString),
    "_total": GraphQLArgument(GraphQLString),
}


@cache
def schema() -> GraphQLSchema:
    """Return the schema: queries of every type, and mutations."""
    return GraphQLSchema(
        query=GraphQLObjectType("Query", _queries),
        mutation=GraphQLObjectType("Mutation", _mutations),
        directives=[*specified_directives, *_directives()],
    )


def _directives() -> list[GraphQLDirective]:
    on = [DirectiveLocation.FIELD]
    path = {"path": GraphQLArgument(GraphQLNonNull(GraphQLString))}
    plain = [GraphQLDirective(name, on) for name in ("flatten", "first", "singleton")]
    return [*plain, GraphQLDirective("slice", on, args=path)]


def _queries() -> Fields:
    found: Fields = {}
    for name in resource_types():
        known = _searched(name)
        one = {"id": GraphQLArgument(GraphQLNonNull(GraphQLID))}
        found[name] = GraphQLField(_type(Place(name)), args=one)
        found[f"{name}List"] = GraphQLField(GraphQLList(_type(Place(name))), args=known)
        found[f"{name}Connection"] = GraphQLField(_connection(name), args=known)
    return found


def _searched(name: str) -> Arguments:
    codes = sorted(code.replace("-", "_") for code in search_parameters(name))
    return _PAGE | {code: GraphQLArgument(GraphQLString) for code in codes}


@cache
def _connection(name: str) -> GraphQLObjectType:
    edge = {
        "mode": GraphQLField(GraphQLString),
        "score": GraphQLField(GraphQLFloat),
        "resource": GraphQLField(_type(Place(name))),
    }
    edges = GraphQLObjectType(f"{name}Edge", edge)
    members = {
        "count": GraphQLField(GraphQLInt),
        "pagesize": GraphQLField(GraphQLInt),
        "next": GraphQLField(GraphQLString),
        "edges": GraphQLField(GraphQLList(edges)),
    }
    return GraphQLObjectType(f"{name}Connection", members)


def _mutations() -> Fields:
    found: Fields = {}
    one = GraphQLArgument(GraphQLNonNull(GraphQLID))
    outcome = GraphQLField(_type(Place("OperationOutcome")))
    for name in resource_types():
        resource = GraphQLArgument(GraphQLNonNull(GraphQLScalarType(f"{name}ResourceInput")))
        members = {"resource": GraphQLField(_type(Place(name))), "information": outcome}
        located = {"location": GraphQLField(GraphQLString), **members}
        written = GraphQLObjectType(f"{name}Write", located)
        deleted = GraphQLObjectType(f"{name}Deletion", {"information": outcome})
        found[f"{name}Create"] = GraphQLField(written, args={"resource": resource})
        found[f"{name}Update"] = GraphQLField(written, args={"id": one, "resource": resource})
        found[f"{name}Delete"] = GraphQLField(deleted, args={"id": one})
    return found


@cache
def _type(place: Place) -> GraphQLObjectType | GraphQLUnionType:
    """Return the type of a place; that of any resource is the union of all."""
    if place.type_name in {"Resource", "DomainResource"}:
        return _any_resource()
    parts = [part.removesuffix("[x]") for part in place.path.split(".") if part]
    name = place.type_name + "".join(part[0].upper() + part[1:] for part in parts)
    return GraphQLObjectType(name, partial(_members, place))


@cache
def _any_resource() -> GraphQLUnionType:
    def types() -> list[GraphQLObjectType]:
        found = [_type(Place(name)) for name in resource_types()]
        return [kind for kind in found if isinstance(kind, GraphQLObjectType)]

    return GraphQLUnionType("Resource", types)


def _members(place: Place) -> Fields:
    found: Fields = {}
    known = fields(place)
    for name, member in known.items():
        kind = _kind(member)
        inner = fields(member.place) if member.repeats and member.place else {}
        chosen = {n: GraphQLArgument(GraphQLString) for n, f in inner.items() if f.place is None}
        args = {**chosen, **_WINDOW} if member.repeats else None
        found[name] = GraphQLField(GraphQLList(kind) if member.repeats else kind, args=args)
    if place.type_name == "Reference":
        arguments = {
            "optional": GraphQLArgument(GraphQLBoolean),
            "type": GraphQLArgument(GraphQLString),
        }
        found["resource"] = GraphQLField(_any_resource(), args=arguments)
    if place.type_name in resource_types() and not place.path:
        found["resourceType"] = GraphQLField(GraphQLString)
        found.update(_reverse(place.type_name))
    return found


def _reverse(name: str) -> Fields:
    """Return the lists of what refers to a resource."""
    by = _PAGE | {"_reference": GraphQLArgument(GraphQLNonNull(GraphQLString))}
    found: Fields = {}
    for source in sorted({source for source, _ in reference_parameters(name)}):
        found[f"{source}List"] = GraphQLField(GraphQLList(_type(Place(source))), args=by)
        found[f"{source}Connection"] = GraphQLField(_connection(source), args=by)
    return found


def _kind(member: Field) -> GraphQLOutputType:
    return _type(member.place) if member.place is not None else _scalar(member.kind)


@cache
def _scalar(kind: str) -> GraphQLScalarType:
    return _KNOWN.get(kind) or GraphQLScalarType(kind.rpartition(".")[2])
