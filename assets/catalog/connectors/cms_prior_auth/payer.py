"""The payer's HTTP: discovery, signed token requests, `Claim/$submit`, `Claim/$inquire`.

https://hl7.org/fhir/smart-app-launch/backend-services.html
https://build.fhir.org/ig/HL7/davinci-pas/specification.html
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from assets.sdk import AssetError, Context, HttpResponse, Json, Resource

FHIR_JSON = "application/fhir+json"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = timedelta(minutes=4)
ALGORITHMS = ["RS384", "ES384"]
_KEY_REMEDY = (
    "Set the private key whose public half the payer has: PUT "
    "/v1/asset-installations/{id}/credentials. Check client_id and key_id in the configuration."
)


class Payer:
    """The calls, with the context's token cache and HTTP client."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._base = str(context.config["base_url"]).rstrip("/")
        self._timeout = float(context.config.get("timeout_seconds", 20))

    def token_url(self) -> str:
        """Return where tokens are given: as configured, else as the payer's SMART file says."""
        configured = str(self._context.config.get("token_url") or "")
        if configured:
            return configured
        response = self._context.http.request(
            "GET",
            f"{self._base}/.well-known/smart-configuration",
            headers={"Accept": "application/json"},
            timeout=self._timeout,
        )
        found = _object(_checked(response)).get("token_endpoint")
        if not isinstance(found, str) or not found:
            raise _rubbish("its SMART configuration names no token_endpoint")
        return found

    def token(self) -> int:
        """Fetch a token, bypassing the cache; return the HTTP status. For the connection test."""
        self._context.tokens.forget(self._token_key)
        self._access_token()
        return 200

    def metadata(self) -> int:
        """Read the payer's CapabilityStatement; raise unless it speaks FHIR R4."""
        response = self._context.http.request(
            "GET",
            f"{self._base}/metadata",
            headers={"Accept": FHIR_JSON},
            timeout=self._timeout,
        )
        found = _object(_checked(response))
        if found.get("resourceType") != "CapabilityStatement":
            raise _rubbish("its metadata is no CapabilityStatement")
        if not str(found.get("fhirVersion", "")).startswith("4.0"):
            raise _rubbish(f"it speaks FHIR {found.get('fhirVersion')}, not R4")
        return response.status

    def submit(self, bundle: Resource) -> Resource:
        """Send a request; return the response Bundle."""
        answer = _object(self._post("Claim/$submit", bundle))
        found = next(_bundles(answer), None)
        if found is None:
            raise _rubbish("it answered a request without a Bundle")
        return found

    def inquire(self, bundle: Resource) -> Resource | None:
        """Return the newest response Bundle of a request, None when the payer has none."""
        found = list(_bundles(_object(self._post("Claim/$inquire", bundle))))
        return max(found, key=lambda item: str(item.get("timestamp", ""))) if found else None

    @property
    def _token_key(self) -> str:
        config = self._context.config
        return f"pas:{self._base}:{config['client_id']}:{config['key_id']}:{config.get('scope')}"

    def _access_token(self) -> str:
        return self._context.tokens.get_or_fetch(self._token_key, self._fetch_token)

    def _fetch_token(self) -> tuple[str, float]:
        url = self.token_url()
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self._assertion(url),
            "scope": str(self._context.config.get("scope", "")),
        }
        response = self._context.http.request("POST", url, data=form, timeout=self._timeout)
        if response.status in (400, 401, 403):
            raise _unauthorized(response)
        answer = _object(_checked(response))
        token, lifetime = answer.get("access_token"), answer.get("expires_in", 300)
        if not isinstance(token, str) or not isinstance(lifetime, int | float):
            raise _rubbish("its token answer has no access_token")
        return token, float(lifetime)

    def _assertion(self, audience: str) -> str:
        context = self._context
        client_id = str(context.config["client_id"])
        key = _private_key(context.secrets.get("private_key", ""))
        claims = {
            "iss": client_id,
            "sub": client_id,
            "aud": audience,
            "jti": uuid4().hex,
            "iat": int(context.now.timestamp()),
            "exp": int((context.now + ASSERTION_LIFE).timestamp()),
        }
        header = {
            "alg": "ES384" if isinstance(key, ECKey) else "RS384",
            "typ": "JWT",
            "kid": str(context.config["key_id"]),
        }
        try:
            return jwt.encode(header, claims, key, algorithms=ALGORITHMS)
        except (JoseError, ValueError, TypeError) as error:
            raise _bad_key("it does not sign RS384 or ES384") from error

    def _post(self, path: str, body: Resource) -> HttpResponse:
        """Send with the cached token; on a 401 once more with a new one."""
        content = json.dumps(body, default=float, separators=(",", ":")).encode()
        for renewed in (False, True):
            response = self._context.http.request(
                "POST",
                f"{self._base}/{path}",
                headers={
                    "Authorization": f"Bearer {self._access_token()}",
                    "Content-Type": FHIR_JSON,
                    "Accept": FHIR_JSON,
                },
                content=content,
                timeout=self._timeout,
            )
            if response.status != 401 or renewed:
                break
            self._context.tokens.forget(self._token_key)
        return _checked(response)


def _private_key(text: str) -> RSAKey | ECKey:
    """Return the key in a PEM or JWK text."""
    if not text:
        raise AssetError(
            "secret_missing", "The private key for the payer is not set.", remedy=_KEY_REMEDY
        )
    try:
        if text.lstrip().startswith("{"):
            found = json.loads(text)
            kind = ECKey if found.get("kty") == "EC" else RSAKey
            key: RSAKey | ECKey = kind.import_key(found)
        else:
            key = _from_pem(text)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _bad_key("it is neither a PEM nor a JWK of an RSA or EC key") from error
    if not key.is_private:
        raise _bad_key("it is a public key")
    return key


def _from_pem(text: str) -> RSAKey | ECKey:
    try:
        return RSAKey.import_key(text)
    except (JoseError, ValueError, TypeError):
        return ECKey.import_key(text)


def _bundles(answer: Json) -> Iterator[Resource]:
    """Yield the Bundles of an answer: itself (PAS 2.0), or parameters of it (PAS 2.2)."""
    if answer.get("resourceType") == "Bundle":
        yield answer
    for parameter in answer.get("parameter") or []:
        resource = parameter.get("resource") if isinstance(parameter, dict) else None
        if isinstance(resource, dict) and resource.get("resourceType") == "Bundle":
            yield resource


def _object(response: HttpResponse) -> Json:
    answer = response.json()
    if not isinstance(answer, dict):
        raise _rubbish("it did not answer with a JSON object")
    return answer


def _checked(response: HttpResponse) -> HttpResponse:
    """Return a 2xx response; raise the error that another status stands for."""
    status = response.status
    if 200 <= status < 300:
        return response
    if status == 401:
        raise _unauthorized(response)
    if status == 429:
        raise AssetError(
            "vendor_rate_limited",
            "The payer answered 429: too many requests.",
            retryable=True,
            remedy="Wait; the call is tried again by itself.",
            retry_after=response.retry_after,
            details={"status": status},
        )
    if status >= 500:
        raise AssetError(
            "vendor_unavailable",
            f"The payer answered {status}: a fault on their side.",
            retryable=True,
            remedy="Wait and try again; if it lasts, call the payer's support.",
            retry_after=response.retry_after,
            details={"status": status, "outcome_unknown": True},
        )
    raise _rejected(response)


def _rejected(response: HttpResponse) -> AssetError:
    """Return the error of a request that the payer can't use, with where its issues point.

    The payer's free text may quote the request: only codes and places are repeated.
    """
    issues = [
        {"code": str(issue.get("code", ""))[:40], "expression": _places(issue)}
        for issue in _issues(response)
    ]
    where = "; ".join(f"{item['code']} at {item['expression'] or 'the request'}" for item in issues)
    return AssetError(
        "vendor_rejected",
        f"The payer refused the request with {response.status}{': ' if where else ''}{where}.",
        remedy="Correct what the issues name, then submit again. It is not sent again by itself.",
        details={"status": response.status, "issues": issues},
    )


def _issues(response: HttpResponse) -> list[Json]:
    try:
        body = response.json()
    except AssetError:
        return []
    found = body.get("issue") if isinstance(body, dict) else None
    return (
        [item for item in found if isinstance(item, dict)][:20] if isinstance(found, list) else []
    )


def _places(issue: Json) -> str:
    found = issue.get("expression") or issue.get("location") or []
    return ", ".join(str(item)[:120] for item in found[:5]) if isinstance(found, list) else ""


def _unauthorized(response: HttpResponse) -> AssetError:
    try:
        body = response.json()
    except AssetError:
        body = None
    said = body.get("error") if isinstance(body, dict) else None
    because = f", {str(said)[:60]}" if isinstance(said, str) else ""
    return AssetError(
        "vendor_unauthorized",
        f"The payer refused the credentials ({response.status}{because}).",
        remedy=_KEY_REMEDY,
        details={"status": response.status},
    )


def _bad_key(why: str) -> AssetError:
    return AssetError(
        "secret_invalid", f"The private key can't be used: {why}.", remedy=_KEY_REMEDY
    )


def _rubbish(what: str) -> AssetError:
    return AssetError(
        "vendor_rubbish",
        f"The payer's answer can't be used: {what}.",
        remedy="Check that base_url is the FHIR address of a Prior Authorization API.",
    )
