"""`/_sandbox/…`: fill a client's queue, plan faults, look at its state. Ours, not Quest's.

`POST /_sandbox/results` (`client_secret` may be left out, it is the sandbox's own):
`{"client_id": "sandbox-<project id>", "patient": {"mrn", "family", "given", "birth_date",
"gender"} or a FHIR Patient,
"panel": "uti_positive" | "results": [{"code", "name", "value", "type", "units", "range", "flag"}],
"status": "F", "filler", "placer", "collected", "notes": [], "pdf": false}`, or `"hl7": "MSH|…"`
instead of patient and results.
"""

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from assets.simulators.exchange import Answer, Request
from assets.simulators.quest.accounts import SECRET, Accounts, Message
from assets.simulators.quest.messages import PANELS, Person, Report, write_oru
from assets.simulators.quest.orders import pdf

FAULTS = ("401", "429", "500", "503", "rubbish", "hang", "badbase64")
OPERATIONS = ("token", "getResults", "acknowledgeResults", "order")
Body = Mapping[str, object]


class Sandbox:
    """The hooks for tests and demonstrations."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._routes: Mapping[str, Callable[[str, Body], Answer]] = {
            "/_sandbox/results": self._add_result,
            "/_sandbox/faults": self._add_fault,
            "/_sandbox/state": self._state,
            "/_sandbox/reset": self._reset,
        }

    def answer(self, request: Request) -> Answer:
        """Answer a hook; each takes POST and the client's credentials in its body."""
        handler, body = self._routes.get(request.path), request.json()
        if handler is None or request.method != "POST":
            return Answer.json({"error": f"POST one of {', '.join(self._routes)}"}, status=404)
        if not isinstance(body, dict):
            return Answer.json({"error": "the body is a JSON object"}, status=400)
        client_id = str(body.get("client_id", ""))
        if not self._accounts.known(client_id, str(body.get("client_secret", SECRET))):
            return Answer.json({"error": "client_id or client_secret is wrong"}, status=401)
        return handler(client_id, body)

    def _add_result(self, client_id: str, body: Body) -> Answer:
        if isinstance(body.get("hl7"), str):
            text = str(body["hl7"])
            found = re.match(r"MSH\|(?:[^|\r\n]*\|){8}(?P<control>[^|\r\n]+)", text)
            message = Message(found["control"] if found else secrets.token_hex(8), text)
        else:
            built = _report(body)
            if isinstance(built, str):
                return Answer.json({"error": built}, status=400)
            message = Message(built.control_id, write_oru(built))
        self._accounts.enqueue(client_id, message)
        return Answer.json({"controlId": message.control_id, "message": message.text}, status=201)

    def _add_fault(self, client_id: str, body: Body) -> Answer:
        operation, fault = str(body.get("operation")), str(body.get("fault"))
        times = body.get("times", 1)
        if operation not in OPERATIONS or fault not in FAULTS or not isinstance(times, int):
            error = f"operation is one of {OPERATIONS}, fault one of {FAULTS}, times a number"
            return Answer.json({"error": error}, status=400)
        self._accounts.add_fault(client_id, operation, fault, min(times, 100))
        return Answer.json({"planned": times}, status=201)

    def _reset(self, client_id: str, body: Body) -> Answer:
        self._accounts.reset(client_id)
        return Answer.json({"reset": client_id})

    def _state(self, client_id: str, body: Body) -> Answer:
        account = self._accounts.account(client_id)
        return Answer.json(
            {
                "waiting": list(account.waiting),
                "acknowledged": list(account.acknowledged),
                "rejected": dict(account.rejected),
                "deliveries": account.deliveries,
                "tokens_issued": account.tokens_issued,
                "orders": list(account.orders),
            }
        )


def _report(body: Body) -> Report | str:
    """Return the report that a body asks for, or what is wrong with it."""
    person = _person(body.get("patient"))
    panel = str(body.get("panel", "uti_positive"))
    lines = body.get("results", PANELS.get(panel))
    if person is None:
        return "patient needs mrn, family, given and birth_date, or is a FHIR Patient with them"
    if not isinstance(lines, list | tuple) or not all(_is_line(item) for item in lines):
        return f"panel is one of {', '.join(PANELS)}, or results is a list of code and value"
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    control_id = str(body.get("control_id") or secrets.token_hex(8))
    notes = body.get("notes", [])
    return Report(
        control_id=control_id,
        filler=str(body.get("filler") or f"WX{control_id[:10].upper()}"),
        placer=str(body.get("placer", "")),
        person=person,
        lines=cast("list[Mapping[str, str]]", list(lines)),
        collected=str(body.get("collected") or now),
        reported=str(body.get("reported") or now),
        status=str(body.get("status", "F")),
        notes=tuple(str(note) for note in notes) if isinstance(notes, list) else (),
        pdf=pdf() if body.get("pdf") else "",
    )


def _person(patient: object) -> Person | None:
    """Return who is meant, None when the body doesn't say it."""
    if not isinstance(patient, dict):
        return None
    if patient.get("resourceType") == "Patient":
        return _fhir_person(patient)
    required = [patient.get(name) for name in ("mrn", "family", "given", "birth_date")]
    if not all(isinstance(value, str) and value for value in required):
        return None
    mrn, family, given, birth_date = map(str, required)
    return Person(mrn, family, given, birth_date, str(patient.get("gender", "unknown")))


def _fhir_person(patient: Mapping[str, Any]) -> Person | None:
    """Return a FHIR Patient as the laboratory knows them: by record number, else by id."""
    numbers = [item.get("value") for item in _medical_record_first(patient.get("identifier", []))]
    name = (patient.get("name") or [{}])[0]
    given = (name.get("given") or [""])[0]
    number = next((value for value in numbers if value), patient.get("id"))
    if not (number and name.get("family") and given and patient.get("birthDate")):
        return None
    gender = str(patient.get("gender", "unknown"))
    return Person(str(number), name["family"], given, patient["birthDate"], gender)


def _medical_record_first(identifiers: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    def rank(item: Mapping[str, Any]) -> bool:
        codings = item.get("type", {}).get("coding", [])
        return not any(coding.get("code") == "MR" for coding in codings)

    return sorted(identifiers, key=rank)


def _is_line(item: object) -> bool:
    return (
        isinstance(item, dict)
        and {"code", "value"} <= set(item)
        and all(isinstance(value, str | bool) for value in item.values())
    )
