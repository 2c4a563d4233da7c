"""CMS Prior Auth API: validate, submit and follow prior authorization requests over Da Vinci PAS.

A request is known by its Claim's identifier. The payer is asked for it before anything is sent, and
again when the outcome of sending is unknown, so that a retry never makes a second request.
"""

from collections.abc import Iterator

from assets.sdk import (
    AssetError,
    Connector,
    Context,
    Json,
    Probe,
    Resource,
    Result,
    Step,
    StoredResource,
    Write,
    probes,
    unreachable,
)

from .answers import Decision, read_decision, retry_code
from .assembly import Assembly, assemble, inquiry
from .filing import claim_response, events, output, stored_response, task_for
from .payer import Payer

_ABSENT = (404, 405)


class PriorAuthConnector(Connector):
    """`validate_prior_auth`, `submit_prior_auth`, `inquire_prior_auth`."""

    def check(self, context: Context) -> Iterator[Probe]:
        """Yield discovery, token and metadata; nothing is submitted."""
        payer = Payer(context)
        steps: list[Step] = [
            (
                "discovery",
                "The payer says where tokens are given.",
                lambda: _discover(payer, context),
            ),
            ("token", "The signed assertion is accepted.", payer.token),
            ("metadata", "The payer speaks FHIR R4.", payer.metadata),
        ]
        yield from probes(context, steps)

    def invoke(self, context: Context, action: str, input: Json) -> Result:
        """Run an action; AssetError `claim_not_found`, `claim_invalid`, `not_submitted`."""
        if action == "validate_prior_auth":
            return _validate(context, input)
        if action == "submit_prior_auth":
            return _submit(context, input)
        return _inquire(context, input)


def _discover(payer: Payer, context: Context) -> int | None:
    try:
        payer.token_url()
    except AssetError as error:
        if error.code in ("vendor_unreachable", "vendor_timeout"):
            raise unreachable(str(context.config["base_url"]), error) from error
        raise
    return 200


def _validate(context: Context, input: Json) -> Result:
    """Build the bundle of a Claim that may not be stored yet; send nothing."""
    given = input["claim"]
    claim = given if isinstance(given, dict) else _stored(context, given).resource
    assembly = assemble(context, claim)
    said: Json = {
        "valid": not assembly.problems,
        "problems": assembly.problems,
        "resources": assembly.resources,
    }
    return Result(said, evidence=assembly.evidence)


def _submit(context: Context, input: Json) -> Result:
    """Send a Claim unless the payer has it already; file what the payer says."""
    claim = _stored(context, input["claim"])
    if claim.resource.get("status") not in ("draft", "active"):
        raise AssetError(
            "claim_closed",
            f"{claim.reference} is {claim.resource.get('status')}; it can't be submitted.",
            remedy="Make a new Claim.",
        )
    assembly = _sendable(context, claim)
    payer = Payer(context)
    bundle = _known(context, payer, assembly)
    sent = bundle is None
    if bundle is None:
        bundle = _send(context, payer, assembly)
    context.log("prior authorization submitted", claim=claim.id, sent=sent)
    return _filed(context, assembly, bundle)


def _known(context: Context, payer: Payer, assembly: Assembly) -> Resource | None:
    """Return the payer's answer to a request that it has; None also where it can't be asked."""
    try:
        return payer.inquire(inquiry(assembly))
    except AssetError as error:
        if error.details.get("status") not in _ABSENT:
            raise
        context.log("the payer does not answer inquiries")
        return None


def _send(context: Context, payer: Payer, assembly: Assembly) -> Resource:
    """Send; where it is not known whether that reached the payer, ask whether it did."""
    try:
        return payer.submit(assembly.bundle)
    except AssetError as error:
        if not error.details.get("outcome_unknown"):
            raise
        context.log("the outcome of sending is unknown", code=error.code)
        try:
            found = payer.inquire(inquiry(assembly))
        except AssetError:
            found = None
        if found is None:
            raise
        return found


def _inquire(context: Context, input: Json) -> Result:
    """Ask about a request that was sent; file what the payer says."""
    claim = _stored(context, input["claim"])
    assembly = _sendable(context, claim)
    bundle = Payer(context).inquire(inquiry(assembly))
    if bundle is None:
        raise AssetError(
            "not_submitted",
            f"The payer knows no request for {claim.reference}.",
            remedy="Submit it first: action submit_prior_auth.",
        )
    return _filed(context, assembly, bundle)


def _stored(context: Context, name: str) -> StoredResource:
    claim_id = str(name).removeprefix("Claim/")
    claim = context.fhir.find("Claim", claim_id)
    if claim is None:
        raise AssetError(
            "claim_not_found",
            f"Claim/{claim_id} does not exist in this project.",
            remedy="Create the Claim first, or name one that exists.",
        )
    return claim


def _sendable(context: Context, claim: StoredResource) -> Assembly:
    assembly = assemble(context, claim.resource)
    if assembly.problems:
        listed = "; ".join(str(item["text"]) for item in assembly.problems[:5])
        raise AssetError(
            "claim_invalid",
            f"{claim.reference} can't be sent: {listed}.",
            remedy="Correct what is named, then submit again.",
            details={"problems": assembly.problems},
        )
    return assembly


def _filed(context: Context, assembly: Assembly, bundle: Resource) -> Result:
    """Return the answer as writes and, where it says something new, events."""
    claim = assembly.claim
    decision, answer = read_decision(bundle, claim, context.now)
    _check_errors(decision)
    stored, earlier = claim_response(answer, claim), stored_response(context, claim)
    writes = [Write("upsert", stored)]
    was_sent = claim["status"] == "active"
    if not was_sent:
        writes.append(Write("upsert", {**claim, "status": "active"}))
    task = None
    if decision.state == "action_required":
        asked = task_for(context, claim, decision)
        task = f"Task/{asked.resource['id']}"
        if context.fhir.find("Task", asked.resource["id"]) is None:  # else a person has it
            writes.append(asked)
    is_news = stored != earlier
    told = events(claim, decision, sent=not was_sent, task=task) if is_news else []
    return Result(output(claim, decision, task), writes, events=told, evidence=assembly.evidence)


def _check_errors(decision: Decision) -> None:
    code = retry_code(decision)
    if code is not None:
        raise AssetError(
            "payer_try_again",
            f"The payer could not decide now (error {code}).",
            retryable=True,
            remedy="Wait; the request is tried again by itself.",
        )
