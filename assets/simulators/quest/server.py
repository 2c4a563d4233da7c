"""Quanum Hub's services, with its rules: token, redelivery until acknowledged, request ids.

Client ids begin with `sandbox-`, the secret is `sandbox-secret`; each client has its own queue.
A client id such as `sandbox-fault-429` (also `500 503 401 rubbish hang badbase64`) always meets
that fault when it gets results. `/_sandbox/…` is ours, not Quest's: it fills queues.
"""

import base64
import binascii
import re
import time
from collections.abc import Callable

from assets.simulators.exchange import Answer, Request
from assets.simulators.quest.accounts import TOKEN_SECONDS, Accounts
from assets.simulators.quest.orders import OrderRefused, requisition, result_of_order
from assets.simulators.quest.sandbox import Sandbox

HANG_SECONDS = 45.0
_ACK = re.compile(
    r"(?:^|[\r\n])MSA\|(?P<code>[A-Z]{2})\|(?P<control>[^|\r\n]*)\|?(?P<text>[^|\r\n]*)"
)


class QuestSimulator:
    """Answers below `/quest`."""

    def __init__(self) -> None:
        self.accounts = Accounts()
        self._sandbox = Sandbox(self.accounts)
        hub = "/hub-resource-server/oauth2"
        self._routes: dict[str, tuple[str, Callable[[str, Request], Answer]]] = {
            f"{hub}/result/getResults": ("getResults", self._get_results),
            f"{hub}/result/acknowledgeResults": ("acknowledgeResults", self._acknowledge),
            f"{hub}/order/document": ("order", self._order),
        }

    def answer(self, request: Request) -> Answer:
        """Answer a request."""
        if request.path.startswith("/_sandbox/"):
            return self._sandbox.answer(request)
        if request.path == "/hub-authorization-server/oauth2/token":
            return self._only_post(request, self._token)
        if request.path in self._routes:
            return self._only_post(request, self._resource)
        return Answer.json({"error": "not found"}, status=404)

    def _only_post(self, request: Request, answer: Callable[[Request], Answer]) -> Answer:
        if request.method != "POST":
            return Answer.json({"error": "method not allowed"}, status=405)
        return answer(request)

    def _token(self, request: Request) -> Answer:
        form = request.form()
        if form.get("grant_type") != "client_credentials":
            return Answer.json({"error": "unsupported_grant_type"}, status=400)
        client_id = form.get("client_id", "")
        if not self.accounts.known(client_id, form.get("client_secret", "")):
            return Answer.json({"error": "invalid_client"}, status=401)
        fault = self._fault(client_id, "token")
        if fault is not None:
            return fault
        token = self.accounts.issue_token(client_id)
        answer = {"access_token": token, "token_type": "bearer", "expires_in": TOKEN_SECONDS}
        return Answer.json(answer)

    def _resource(self, request: Request) -> Answer:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        client_id = self.accounts.client_of(token) if scheme.lower() == "bearer" else None
        if client_id is None:
            headers = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            return Answer.json({"error": "invalid_token"}, status=401, headers=headers)
        operation, handler = self._routes[request.path]
        return self._fault(client_id, operation) or handler(client_id, request)

    def _get_results(self, client_id: str, request: Request) -> Answer:
        body = request.json()
        if not isinstance(body, dict) or body.get("resultServiceType") != "HL7":
            return Answer.json({"error": "resultServiceType must be HL7"}, status=400)
        maximum = _maximum(body.get("requestParameters"))
        if maximum is None:
            return Answer.json({"error": "maxMessages must be 1 to 100"}, status=400)
        request_id, messages = self.accounts.deliver(client_id, maximum)
        results = [
            {"hl7Message": {"controlId": item.control_id, "message": _base64(item.text)}}
            for item in messages
        ]
        return Answer.json({"requestId": request_id, "results": results})

    def _acknowledge(self, client_id: str, request: Request) -> Answer:
        body = request.json()
        if not isinstance(body, dict) or not isinstance(body.get("ackMessages"), list):
            return Answer.json({"error": "ackMessages is missing"}, status=400)
        acks = []
        for item in body["ackMessages"]:
            ack = _parse_ack(item)
            if ack is None:
                return Answer.json({"error": "an ACK is not base64 of MSH and MSA"}, status=400)
            acks.append(ack)
        wrong = self.accounts.settle(client_id, str(body.get("requestId", "")), acks)
        if wrong is not None:
            return Answer.json({"error": wrong}, status=400)
        return Answer.json({"status": "acknowledged", "count": len(acks)})

    def _order(self, client_id: str, request: Request) -> Answer:
        body = request.json()
        encoded = body.get("orderHl7") if isinstance(body, dict) else None
        text = _decode(encoded)
        if text is None:
            return Answer.json({"error": "orderHl7 is not base64"}, status=400)
        try:
            message = result_of_order(text)
        except OrderRefused as error:
            return Answer.json({"error": str(error)}, status=400)
        self.accounts.account(client_id).orders.append(text)
        self.accounts.enqueue(client_id, message)
        return Answer.json({"orderSupportDocuments": [requisition(text)]})

    def _fault(self, client_id: str, operation: str) -> Answer | None:
        fault = self.accounts.next_fault(client_id, operation)
        match fault:
            case None:
                return None
            case "429":
                headers = {"Retry-After": "1"}
                return Answer.json({"error": "too many requests"}, status=429, headers=headers)
            case "500" | "503":
                return Answer(int(fault), b"<html>Internal error</html>", "text/html")
            case "401":
                self.accounts.expire_tokens(client_id)
                return Answer.json({"error": "invalid_token"}, status=401)
            case "rubbish":
                return Answer(200, b"<html>Welcome to Quanum</html>", "text/html")
            case "badbase64":
                bad = {"hl7Message": {"controlId": "BAD64", "message": "%%%"}}
                return Answer.json({"requestId": "bad", "results": [bad]})
            case _:
                time.sleep(HANG_SECONDS)
                return Answer.json({"error": "too late"}, status=504)


def _maximum(parameters: object) -> int | None:
    if parameters is None:
        return 20
    for item in parameters if isinstance(parameters, list) else []:
        if isinstance(item, dict) and item.get("parameterName") == "maxMessages":
            text = str(item.get("parameterValue", ""))
            return int(text) if text.isdigit() and 1 <= int(text) <= 100 else None
    return 20


def _parse_ack(item: object) -> tuple[str, str, str] | None:
    if not isinstance(item, dict):
        return None
    text = _decode(item.get("message"))
    match = _ACK.search(text) if text and text.startswith("MSH|") else None
    if match is None or match["control"] != item.get("controlId"):
        return None
    return match["control"], match["code"], match["text"]


def _decode(encoded: object) -> str | None:
    if not isinstance(encoded, str):
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
