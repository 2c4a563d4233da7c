"""$viewdefinition-run, `$run` for short. https://sql-on-fhir.org/ig/operations.html

R4 has no type ViewDefinition: the definition comes with the call and is not stored.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec

from fhir.analytics.output import FORMATS, write_table
from fhir.analytics.view import Row, View, compile_view
from fhir.bulk.patients import members_of, of_patients, patient_id
from fhir.definitions import type_number
from fhir.documents import JsonObject
from fhir.errors import NotSupported
from fhir.operations.operation import Answer, Call, Operation
from fhir.operations.parameters import InvalidParameter
from fhir.search.clause import Clause, all_of
from fhir.sql import fetch
from fhir.terminology.errors import TooCostly
from healthcloud.tenancy.scope import active_project

MAX_ROWS: Final = 200_000
_PAGE: Final = 1_000
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def run(call: Call) -> Answer:
    """Return the table that a view makes of the stored resources, or of those that are sent."""
    given = call.parameters
    view = compile_view(_definition(call))
    call.require(f"{view.resource_type}:read")
    form = _form(call)
    limit = given.integer("_limit", minimum=1, maximum=MAX_ROWS)
    resources = _sent(call, view) if "resource" in given else _stored(call, view)
    rows: list[Row] = []
    for resource in resources:
        rows += view.rows(resource)
        if limit is not None and len(rows) >= limit:
            rows = rows[:limit]
            break
        if len(rows) > MAX_ROWS:
            raise TooCostly(
                f"The table has more than {MAX_ROWS} rows: give `_limit`, `patient` or `_since`.",
                param="_limit",
            )
    header = given.truth("header", default=True)
    content = write_table(rows, view.columns, form=form, header=header)
    return Answer(content, content_type=FORMATS[form])


def _definition(call: Call) -> JsonObject:
    for name in ("viewReference", "source"):
        if name in call.parameters:
            raise NotSupported(f"`{name}` is not supported: send the view as `viewResource`.")
    found = call.body.data if call.body is not None else call.parameters.resource("viewResource")
    if found is None or found.get("resourceType", "ViewDefinition") != "ViewDefinition":
        raise InvalidParameter(
            "Send a ViewDefinition, as the body or as `viewResource`.", param="viewResource"
        )
    return found


def _form(call: Call) -> str:
    """Return `json`, `ndjson` or `csv`, by `_format` or Accept; JSON where neither says."""
    asked = call.parameters.text("_format") or call.accept
    wanted = asked.lower().replace(" ", "+")
    for form, mark in (("ndjson", "ndjson"), ("csv", "csv"), ("json", "json")):
        if mark in wanted:
            return form
    if not wanted or "*" in wanted:
        return "json"
    raise InvalidParameter("`_format` is json, ndjson or csv.", param="_format")


def _sent(call: Call, view: View) -> Iterator[dict[str, Any]]:
    for resource in call.parameters.resources("resource"):
        if resource.get("resourceType") == view.resource_type:
            yield _decode(msgspec.json.encode(resource))


def _stored(call: Call, view: View) -> Iterator[dict[str, Any]]:
    """Yield the stored resources of the view's type, page by page."""
    _, project = active_project()
    where = _condition(call, view.resource_type)
    last = ""
    while True:
        rows = fetch(
            "SELECT r.rid, r.content FROM fhir_resource r WHERE r.project = %s::integer"
            " AND r.rtype = %s::smallint AND r.content IS NOT NULL AND r.rid > %s::text"
            f" AND {where.sql} ORDER BY r.rid LIMIT %s::integer",
            [project, type_number(view.resource_type), last, *where.params, _PAGE],
            prepare=False,
        )
        for _, content in rows:
            yield _decode(content)
        if len(rows) < _PAGE:
            return
        last = rows[-1][0].decode()


def _condition(call: Call, resource_type: str) -> Clause:
    given = call.parameters
    parts = [Clause("true")]
    since = given.moment("_since")
    if since is not None:
        parts.append(Clause("r.updated >= %s::timestamptz", (since,)))
    patients = [patient_id(reference, "patient") for reference in _references(call, "patient")]
    for reference in _references(call, "group"):
        call.require("Group:read")
        patients += members_of(reference.rpartition("/")[2])
    if patients or "group" in given:
        parts.append(of_patients(resource_type, patients))
    return all_of(parts)


def _references(call: Call, name: str) -> list[str]:
    """Return the references of a parameter, as texts or as Reference."""
    return [
        str(value.value.get("reference", "")) if isinstance(value.value, dict) else str(value.value)
        for value in call.parameters.all(name)
    ]


_INPUTS: Final = frozenset(
    {
        *("viewResource", "viewReference", "source", "resource", "patient", "group"),
        *("_format", "_limit", "_since", "header"),
    }
)
_DEFINITION: Final = "http://sql-on-fhir.org/OperationDefinition/$viewdefinition-run"
_SUMMARY: Final = "Return the table that a view definition makes of resources."

OPERATIONS = (
    Operation(
        name="viewdefinition-run",
        run=run,
        levels=frozenset({"system", "type"}),
        types=frozenset({"ViewDefinition"}),
        summary=_SUMMARY,
        inputs=_INPUTS,
        definition=_DEFINITION,
        scope="*",
        bare="viewResource",
        answers=("csv", "ndjson", "json"),
        weight=10,
    ),
    Operation(
        name="run",
        run=run,
        levels=frozenset({"type"}),
        types=frozenset({"ViewDefinition"}),
        summary=_SUMMARY,
        inputs=_INPUTS,
        definition=_DEFINITION,
        scope="*",
        bare="viewResource",
        answers=("csv", "ndjson", "json"),
        weight=10,
    ),
)
