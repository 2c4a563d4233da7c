"""The Quest simulator keeps Quanum's rules."""

import base64
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from assets.simulators.exchange import Answer, Request
from assets.simulators.quest.server import QuestSimulator

HUB = "/hub-resource-server/oauth2"
JANE = {"mrn": "M1", "family": "Doe", "given": "Jane", "birth_date": "1970-02-14"}


class Client:
    """Calls the simulator without a wire."""

    def __init__(self) -> None:
        self.simulator = QuestSimulator()
        self.headers: dict[str, str] = {}

    def post(self, path: str, body: Any) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.simulator.answer(Request("POST", path, self.headers, data))

    def token(self, client_id: str = "sandbox-a", secret: str = "sandbox-secret") -> Answer:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": secret,
        }
        return self.post("/hub-authorization-server/oauth2/token", urlencode(form).encode())

    def sign_in(self, client_id: str = "sandbox-a") -> None:
        token = json.loads(self.token(client_id).body)["access_token"]
        self.headers = {"authorization": f"Bearer {token}"}

    def results(self) -> dict[str, Any]:
        answer = self.post(f"{HUB}/result/getResults", {"resultServiceType": "HL7"})
        return json.loads(answer.body)

    def acknowledge(self, request_id: str, control_id: str, code: str = "CA") -> Answer:
        ack = f"MSH|^~\\&|A||B||1||ACK|1|P|2.5.1\rMSA|{code}|{control_id}|\r"
        message = {"controlId": control_id, "message": base64.b64encode(ack.encode()).decode()}
        body = {"resultServiceType": "HL7", "requestId": request_id, "ackMessages": [message]}
        return self.post(f"{HUB}/result/acknowledgeResults", body)


@pytest.fixture
def client() -> Client:
    """A client that signed in."""
    found = Client()
    found.sign_in()
    return found


def add(client: Client, client_id: str = "sandbox-a", **body: Any) -> str:
    answer = client.post("/_sandbox/results", {"client_id": client_id, "patient": JANE, **body})
    assert answer.status == 201, answer.body
    return json.loads(answer.body)["controlId"]


@pytest.mark.parametrize(
    ("client_id", "secret"), [("sandbox-a", "wrong"), ("someone", "sandbox-secret"), ("", "")]
)
def test_wrong_credentials_get_no_token(client_id: str, secret: str) -> None:
    answer = Client().token(client_id, secret)
    assert (answer.status, json.loads(answer.body)) == (401, {"error": "invalid_client"})


def test_no_token_no_results() -> None:
    assert Client().post(f"{HUB}/result/getResults", {"resultServiceType": "HL7"}).status == 401


def test_results_come_again_until_they_are_acknowledged(client: Client) -> None:
    control_id = add(client)
    first, second = client.results(), client.results()
    assert first["requestId"] != second["requestId"]
    assert [item["hl7Message"]["controlId"] for item in second["results"]] == [control_id]
    assert client.acknowledge(second["requestId"], control_id).status == 200
    assert client.results()["results"] == []
    assert client.acknowledge(first["requestId"], control_id).status == 200


def test_an_acknowledgement_belongs_to_its_delivery(client: Client) -> None:
    control_id = add(client)
    request_id = client.results()["requestId"]
    assert client.acknowledge("unknown", control_id).status == 400
    assert client.acknowledge(request_id, "other").status == 400
    assert len(client.results()["results"]) == 1


def test_a_negative_acknowledgement_takes_the_result_aside(client: Client) -> None:
    control_id = add(client)
    client.acknowledge(client.results()["requestId"], control_id, "AE")
    state = json.loads(client.post("/_sandbox/state", {"client_id": "sandbox-a"}).body)
    assert (state["waiting"], list(state["rejected"])) == ([], [control_id])


def test_clients_never_see_each_others_results(client: Client) -> None:
    add(client)
    client.sign_in("sandbox-b")
    assert client.results()["results"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        [],
        {"resultServiceType": "pdf"},
        {
            "resultServiceType": "HL7",
            "requestParameters": [{"parameterName": "maxMessages", "parameterValue": "0"}],
        },
    ],
)
def test_a_bad_request_is_refused(client: Client, body: Any) -> None:
    assert client.post(f"{HUB}/result/getResults", body).status == 400


@pytest.mark.parametrize(
    "body",
    [
        {"patient": {}},
        {"patient": {**JANE, "mrn": ""}},
        {"panel": "none"},
        {"results": [{"code": "1"}]},
        {"client_id": "elsewhere"},
    ],
)
def test_a_bad_hook_call_is_refused(client: Client, body: dict[str, Any]) -> None:
    answer = client.post("/_sandbox/results", {"client_id": "sandbox-a", "patient": JANE, **body})
    assert answer.status in (400, 401)


def test_a_magic_client_always_meets_its_fault() -> None:
    client = Client()
    client.sign_in("sandbox-fault-429")
    answer = client.post(f"{HUB}/result/getResults", {"resultServiceType": "HL7"})
    assert (answer.status, answer.headers["Retry-After"]) == (429, "1")


def test_an_order_without_what_the_laboratory_needs_is_refused(client: Client) -> None:
    for text in ("", "MSH|^~\\&|\rPID|1\r", "MSH|\rPID|1\rORC|CA|1\rOBR|1\r"):
        encoded = base64.b64encode(text.encode()).decode()
        body = {"documentTypes": ["REQ"], "orderHl7": encoded}
        assert client.post(f"{HUB}/order/document", body).status == 400
