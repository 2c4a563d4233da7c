"""X-Provenance: whence what is written comes, stored together with it.

https://hl7.org/fhir/R4/provenance.html#header
"""

from collections.abc import Sequence
from datetime import datetime

from fhir.documents import MalformedJson, ParsedResource, parse, replace_member
from fhir.errors import ResourceMismatch
from fhir.interactions.create import create
from fhir.stored import StoredResource
from healthcloud.actors import Actor


def read_provenance(header: str) -> ParsedResource:
    """Return the Provenance in the header; its targets are the server's to set."""
    try:
        parsed = parse(header)
    except (MalformedJson, UnicodeEncodeError) as error:
        message = getattr(error, "message", "The header is not JSON.")
        raise MalformedJson(f"X-Provenance: {message}", param="X-Provenance") from None
    if parsed.resource_type != "Provenance":
        raise ResourceMismatch(
            "X-Provenance holds one Provenance resource as JSON.", param="X-Provenance"
        )
    return parsed


def record_provenance(
    *, provenance: ParsedResource, references: Sequence[str], actor: Actor, now: datetime
) -> StoredResource:
    """Store a Provenance of versions that were written, in their transaction.

    Raises InvalidResource where it lacks more than its targets.
    """
    targets = [{"reference": reference} for reference in references]
    return create(
        resource=replace_member(provenance.text, "target", targets),
        resource_type="Provenance",
        actor=actor,
        now=now,
    )
