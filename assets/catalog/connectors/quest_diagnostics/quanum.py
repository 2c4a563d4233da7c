"""Quest's Quanum Hub over HTTP: token, order document, results, acknowledgement.

Source: the Quanum Hub services used by OpenEMR's Quest module
(`/hub-authorization-server/oauth2/token`, `/hub-resource-server/oauth2/…`). Production is
`https://hubservices.quanum.com`, certification `https://certhubservices.quanum.com`.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass

from assets.sdk import AssetError, Context, HttpResponse, Json

TOKEN = "/hub-authorization-server/oauth2/token"  # noqa: S105  a path
RESULTS = "/hub-resource-server/oauth2/result/getResults"
ACKNOWLEDGE = "/hub-resource-server/oauth2/result/acknowledgeResults"
ORDER = "/hub-resource-server/oauth2/order/document"
_CREDENTIALS_REMEDY = (
    "Check the client id in the configuration and set the client secret again: "
    "PUT /v1/asset-installations/{id}/credentials. Test with POST …/check."
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message of a getResults answer; `text` is None when it wasn't base64 of text."""

    control_id: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """A getResults answer."""

    request_id: str
    deliveries: tuple[Delivery, ...]


class Quanum:
    """The calls, with the context's token cache and HTTP client."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._base = str(context.config["base_url"]).rstrip("/")
        self._timeout = float(context.config.get("timeout_seconds", 15))

    def token(self) -> int:
        """Fetch a token, bypassing the cache; return the HTTP status. For the connection test."""
        self._context.tokens.forget(self._token_key)
        self._access_token()
        return 200

    def get_results(self, *, maximum: int) -> Batch:
        """Return up to `maximum` results that wait. They come again until acknowledged."""
        body = {
            "resultServiceType": "HL7",
            "requestParameters": [
                {"parameterName": "maxMessages", "parameterValue": str(maximum)},
            ],
        }
        answer = _object(self._post(RESULTS, body))
        request_id = answer.get("requestId")
        results = answer.get("results", [])
        if not isinstance(request_id, str) or not isinstance(results, list):
            raise _rubbish("getResults answered without requestId and results")
        return Batch(request_id, tuple(_delivery(item) for item in results))

    def acknowledge(self, request_id: str, messages: Sequence[tuple[str, str]]) -> None:
        """Send the ACKs (control id, HL7 text) of a batch."""
        body = {
            "resultServiceType": "HL7",
            "requestId": request_id,
            "ackMessages": [
                {"controlId": control_id, "message": base64.b64encode(text.encode()).decode()}
                for control_id, text in messages
            ],
        }
        self._post(ACKNOWLEDGE, body)

    def submit_order(self, message: str, *, document_types: Sequence[str]) -> list[Json]:
        """Send an ORM^O01; return the order support documents (requisition PDF, base64)."""
        body = {
            "documentTypes": list(document_types),
            "orderHl7": base64.b64encode(message.encode()).decode(),
        }
        documents = _object(self._post(ORDER, body)).get("orderSupportDocuments")
        if not isinstance(documents, list):
            raise _rubbish("the order was answered without orderSupportDocuments")
        return [item for item in documents if isinstance(item, dict)]

    @property
    def _token_key(self) -> str:
        return f"quanum:{self._base}:{self._context.config['client_id']}"

    def _access_token(self) -> str:
        return self._context.tokens.get_or_fetch(self._token_key, self._fetch_token)

    def _fetch_token(self) -> tuple[str, float]:
        secret = self._context.secrets.get("client_secret")
        if not secret:
            raise AssetError(
                "secret_missing",
                "The client secret of Quest is not set.",
                remedy="Set it: PUT /v1/asset-installations/{id}/credentials.",
            )
        form = {
            "grant_type": "client_credentials",
            "client_id": str(self._context.config["client_id"]),
            "client_secret": secret,
        }
        response = self._context.http.request(
            "POST", self._base + TOKEN, data=form, timeout=self._timeout
        )
        if response.status in (400, 401, 403):
            raise _unauthorized(response.status)
        answer = _object(_checked(response))
        token, lifetime = answer.get("access_token"), answer.get("expires_in", 300)
        if not isinstance(token, str) or not isinstance(lifetime, int | float):
            raise _rubbish("the token answer has no access_token")
        return token, float(lifetime)

    def _post(self, path: str, body: Json) -> HttpResponse:
        """Send with the cached token; on a 401 once more with a new one."""
        for renewed in (False, True):
            response = self._context.http.request(
                "POST",
                self._base + path,
                headers={"Authorization": f"Bearer {self._access_token()}"},
                json=body,
                timeout=self._timeout,
            )
            if response.status != 401 or renewed:
                break
            self._context.tokens.forget(self._token_key)
        return _checked(response)


def _delivery(item: object) -> Delivery:
    message = item.get("hl7Message") if isinstance(item, dict) else None
    control_id = message.get("controlId") if isinstance(message, dict) else None
    encoded = message.get("message") if isinstance(message, dict) else None
    if not isinstance(control_id, str) or not isinstance(encoded, str):
        raise _rubbish("a result has no hl7Message with controlId and message")
    try:
        raw = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return Delivery(control_id, None)
    try:
        return Delivery(control_id, raw.decode("utf-8"))
    except UnicodeDecodeError:
        return Delivery(control_id, raw.decode("latin-1"))


def _object(response: HttpResponse) -> Json:
    answer = response.json()
    if not isinstance(answer, dict):
        raise _rubbish("the answer is not a JSON object")
    return answer


def _checked(response: HttpResponse) -> HttpResponse:
    """Return a 2xx response; raise the error that another status stands for."""
    status = response.status
    if 200 <= status < 300:
        return response
    details = {"status": status}
    if status == 401:
        raise _unauthorized(status)
    if status == 429:
        raise AssetError(
            "vendor_rate_limited",
            "Quest answered 429: too many requests.",
            retryable=True,
            remedy="Wait; the call is tried again by itself. Run the retrieval less often.",
            retry_after=response.retry_after,
            details=details,
        )
    if status >= 500:
        raise AssetError(
            "vendor_unavailable",
            f"Quest answered {status}: a fault on their side.",
            retryable=True,
            remedy="Wait and try again; if it lasts, call Quest's Quanum support.",
            retry_after=response.retry_after,
            details=details,
        )
    raise AssetError(
        "vendor_rejected",
        f"Quest refused the request with {status}.",
        remedy="Check the base URL and that the account may use the Quanum Hub services.",
        details=details,
    )


def _unauthorized(status: int) -> AssetError:
    return AssetError(
        "vendor_unauthorized",
        f"Quest refused the credentials ({status}).",
        remedy=_CREDENTIALS_REMEDY,
        details={"status": status},
    )


def _rubbish(what: str) -> AssetError:
    return AssetError(
        "vendor_rubbish",
        f"Quest's answer can't be used: {what}.",
        remedy="Check that the base URL is a Quanum Hub; tell Quest's support if it is.",
    )
