"""`$meta`, `$meta-add` and `$meta-delete`: profiles, security labels and tags.

https://hl7.org/fhir/R4/resource-operation-meta.html
https://hl7.org/fhir/R4/resource-operation-meta-add.html
https://hl7.org/fhir/R4/resource-operation-meta-delete.html
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from fhir import store
from fhir.definitions import type_number
from fhir.documents import TAG_SYSTEM, JsonObject, ParsedResource, replace_member
from fhir.operations.operation import HL7, Call, Operation
from fhir.operations.parameters import InvalidParameter, parameters, part
from fhir.sql import fetch
from healthcloud.tenancy.scope import active_project

_LISTS: Final = ("profile", "security", "tag")
_USED: Final = (
    "SELECT DISTINCT v.value FROM fhir_resource r,"
    " jsonb_array_elements(r.content::jsonb #> ARRAY['meta', %s::text]) AS v(value)"
    " WHERE r.project = %s::integer AND r.content IS NOT NULL"
    " AND (%s::smallint IS NULL OR r.rtype = %s::smallint)"
    " AND r.content::jsonb #> ARRAY['meta', %s::text] IS NOT NULL ORDER BY v.value"
)

Change = Callable[[list[Any], list[Any]], list[Any]]


def meta(call: Call) -> JsonObject:
    """Answer the meta of a resource, or all profiles, labels and tags in use on a level."""
    if call.id:
        found = store.read(resource_type=call.resource_type, id=call.id)
        return _returned(found.resource["meta"])
    _, project = active_project()
    number = type_number(call.resource_type) if call.resource_type else None
    used = {name: _in_use(name, project, number) for name in _LISTS}
    return _returned({name: values for name, values in used.items() if values})


def _in_use(name: str, project: int, number: int | None) -> list[Any]:
    rows = fetch(_USED, (name, project, number, number, name), prepare=False)
    return [row[0] if not isinstance(row[0], bytes) else orjson.loads(row[0]) for row in rows]


def meta_add(call: Call) -> JsonObject:
    """Add what the resource does not have yet; profiles, labels and tags only."""
    return _changed(call, lambda kept, given: [*kept, *_missing(given, kept)])


def meta_delete(call: Call) -> JsonObject:
    """Take away what is named; what the resource does not have is no error."""
    return _changed(call, lambda kept, given: _missing(kept, given))


def _changed(call: Call, change: Change) -> JsonObject:
    given = _given(call)
    found = store.read(resource_type=call.resource_type, id=call.id)
    before: JsonObject = found.resource["meta"]
    after = {**before}
    for name in _LISTS:
        values = change(list(before.get(name, ())), list(given.get(name, ())))
        after.pop(name, None)
        if values:
            after[name] = values
    if after == before:
        return _returned(before)
    text = replace_member(found.content, "meta", after)
    written = store.update(
        resource_type=call.resource_type,
        id=call.id,
        resource=ParsedResource(text, orjson.loads(text)),
        actor=call.actor,
        now=call.now,
        if_match=found.etag,
    )
    return _returned(written.resource["meta"])


def _given(call: Call) -> JsonObject:
    given = call.parameters.element("meta", "Meta")
    if given is None:
        raise InvalidParameter("The parameter `meta` (valueMeta) is required.", param="meta")
    for name in _LISTS:
        if not isinstance(given.get(name, []), list):
            raise InvalidParameter(f"`meta.{name}` is an array.", param=f"meta.{name}")
    if any(str(_key(tag)[0]).startswith(TAG_SYSTEM) for tag in given.get("tag", ())):
        raise InvalidParameter(
            f"Tags of {TAG_SYSTEM} say whose a resource is: the server alone sets them.",
            param="meta.tag",
        )
    return given


def _missing(values: Iterable[Any], others: Iterable[Any]) -> list[Any]:
    known = {_key(other) for other in others}
    return [value for value in values if _key(value) not in known]


def _key(value: object) -> tuple[object, ...]:
    """Return what makes two values the same: a Coding's system and code, a profile's address."""
    if isinstance(value, dict):
        return value.get("system"), value.get("code")
    return (value,)


def _returned(found: JsonObject) -> JsonObject:
    return parameters(part("return", valueMeta=found))


OPERATIONS = (
    Operation(
        name="meta",
        run=meta,
        levels=frozenset({"system", "type", "instance"}),
        summary="Answer profiles, security labels and tags.",
        definition=f"{HL7}Resource-meta",
        weight=2,
    ),
    Operation(
        name="meta-add",
        run=meta_add,
        levels=frozenset({"instance"}),
        summary="Add profiles, security labels and tags.",
        inputs=frozenset({"meta"}),
        affects_state=True,
    ),
    Operation(
        name="meta-delete",
        run=meta_delete,
        levels=frozenset({"instance"}),
        summary="Take profiles, security labels and tags away.",
        inputs=frozenset({"meta"}),
        affects_state=True,
    ),
)
