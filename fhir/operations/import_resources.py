"""$import: newline-delimited JSON that is sent, or fetched from addresses.

https://github.com/smart-on-fhir/bulk-import/blob/master/import-manifest.md
"""

from io import BytesIO
from typing import Final

from fhir import jobs
from fhir.bulk.importing import KIND, check_format, keep_input
from fhir.definitions import is_resource_type
from fhir.documents import JsonObject, instant
from fhir.operations.operation import Answer, Call, Operation
from fhir.operations.parameters import InvalidParameter
from healthcloud.http import OutboundError, check_url

NDJSON: Final = ("application/fhir+ndjson", "application/ndjson", "application/x-ndjson")
_MOST_INPUTS: Final = 1_000


def kick_off(call: Call) -> Answer:
    """Ask for an import; the answer says where to watch it."""
    is_sent = bool(call.raw) and any(kind in call.content_type for kind in NDJSON)
    inputs = [] if is_sent else _inputs(call)
    types = sorted({str(entry["type"]) for entry in inputs if entry["type"]})
    is_typed = bool(inputs) and all(entry["type"] for entry in inputs)
    scopes = [f"{name}:write" for name in types] if is_typed else ["fhir:write"]
    call.require(*scopes)
    request: JsonObject = {
        "inputs": inputs,
        "types": types if is_typed else [],
        "time": instant(call.now),
        "address": call.address,
        "base": call.base,
    }
    job = jobs.start(kind=KIND, request=request, scopes=scopes, actor=call.actor, now=call.now)
    if is_sent:
        keep_input(job.id, BytesIO(call.raw), source="the body")
    return Answer(status=202, headers={"Content-Location": f"{call.base}/_jobs/{job.id}"})


def _inputs(call: Call) -> list[JsonObject]:
    """Return the addresses to fetch from, each of which the platform may call."""
    given = call.parameters
    check_format(given.text("inputFormat"))
    found = []
    for entry in given.parts("input"):
        url, name = entry.required("url"), entry.text("type") or ""
        if name and not is_resource_type(name):
            raise InvalidParameter(f"`{name[:80]}` is not a FHIR R4 type.", param="input.type")
        try:
            check_url(url, allow_loopback=False)
        except OutboundError as error:
            raise InvalidParameter(f"{url[:300]} is refused: {error}", param="input.url") from None
        found.append({"url": url, "type": name})
    if not 0 < len(found) <= _MOST_INPUTS:
        raise InvalidParameter(
            f"Send newline-delimited JSON as {NDJSON[0]}, or Parameters with 1 to {_MOST_INPUTS}"
            " `input` of `url` and `type`.",
            param="input",
        )
    return found


OPERATION = Operation(
    name="import",
    run=kick_off,
    levels=frozenset({"system"}),
    summary="Write resources from newline-delimited JSON.",
    inputs=frozenset({"inputFormat", "inputSource", "storageDetail", "input"}),
    definition="http://hl7.org/fhir/uv/bulkdata/OperationDefinition/import",
    affects_state=True,
    scope="*",
    media=NDJSON,
    needs_whole=True,
    weight=20,
)
