"""`$graphql`: queries over the whole server, or over one resource.

https://hl7.org/fhir/R4/graphql.html
"""

from typing import Any, Final

import orjson

from fhir import store
from fhir.documents import JsonObject
from fhir.operations.operation import Answer, Call, Operation
from fhir.operations.parameters import InvalidParameter
from healthcloud.errors import HealthCloudError

_MEDIA: Final = "application/graphql"
_DEFINITION: Final = "http://hl7.org/fhir/OperationDefinition/Resource-graphql"


def graphql(call: Call) -> Answer:
    """Answer `{"data": …}`, or `{"errors": […]}` with an OperationOutcome in each.

    GET takes `query`, `variables` (JSON) and `operationName`; POST the same as JSON, or the query
    alone as application/graphql. Names of search parameters have `_` for `-`. Mutations are sent
    by POST to the system.
    """
    query, variables, name = _request(call)
    resource = None
    if call.id:
        resource = store.read(resource_type=call.resource_type, id=call.id).resource
    try:
        from fhir.graphql.query import run  # graphql-core is loaded by the first query

        answer: JsonObject = {"data": run(query, variables, name, call=call, resource=resource)}
    except HealthCloudError as error:
        answer = {"data": None, "errors": [_error(error)]}
    return Answer(orjson.dumps(answer), content_type="application/json; charset=utf-8")


def _request(call: Call) -> tuple[str, dict[str, Any], str]:
    if call.raw and call.content_type.partition(";")[0].strip() == _MEDIA:
        return call.raw.decode("utf-8", "replace"), {}, ""
    given: JsonObject = {}
    if call.body is not None:
        given = call.body.data
    else:
        given = {
            name: call.parameters.text(name) for name in ("query", "variables", "operationName")
        }
    query, variables = given.get("query"), given.get("variables")
    if isinstance(variables, str):
        try:
            variables = orjson.loads(variables)
        except orjson.JSONDecodeError:
            variables = ()
    if not isinstance(query, str) or not query.strip():
        raise InvalidParameter("Send the query as `query`.", param="query")
    if variables is not None and not isinstance(variables, dict):
        raise InvalidParameter("`variables` is a JSON object.", param="variables")
    return query, variables or {}, str(given.get("operationName") or "")


def _error(error: HealthCloudError) -> JsonObject:
    issue = {
        "severity": "error",
        "code": getattr(error, "issue_code", "processing"),
        "diagnostics": str(error),
    }
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    return {"message": str(error), "extensions": {"resource": outcome}}


OPERATION = Operation(
    name="graphql",
    run=graphql,
    levels=frozenset({"system", "instance"}),
    summary="Answer a GraphQL query or mutation.",
    inputs=frozenset({"query", "variables", "operationName"}),
    definition=_DEFINITION,
    bare="query",
    media=(_MEDIA,),
    weight=3,
)
