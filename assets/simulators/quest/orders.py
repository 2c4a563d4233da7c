"""Orders: what the simulated laboratory reads in an ORM^O01, and the result it then reports."""

import base64
import secrets
from datetime import UTC, datetime

from assets.simulators.quest.accounts import Message
from assets.simulators.quest.messages import PANELS, Person, Report, write_oru

_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]>>endobj\n"
    b"trailer<</Root 1 0 R>>\n%%EOF\n"
)
_GENDERS = {"F": "female", "M": "male", "O": "other"}


class OrderRefused(Exception):
    """The order lacks what the laboratory needs."""


def pdf() -> str:
    """Return a small PDF in base64."""
    return base64.b64encode(_PDF).decode()


def requisition(order: str) -> dict[str, str]:
    """Return the order support document."""
    return {"documentType": "REQ", "documentData": pdf()}


def result_of_order(order: str) -> Message:
    """Return the result that the laboratory will report; raise OrderRefused."""
    segments = {
        line.partition("|")[0]: line.split("|")
        for line in order.replace("\n", "\r").split("\r")
        if line
    }
    missing = [name for name in ("MSH", "PID", "ORC", "OBR") if name not in segments]
    if missing or segments["ORC"][1:2] != ["NW"]:
        raise OrderRefused(f"not a new order: {', '.join(missing) or 'ORC-1 is not NW'}")
    pid, orc, obr = segments["PID"], segments["ORC"], segments["OBR"]
    test = (_at(obr, 4) + "^^^^").split("^")
    if not test[3] or not _at(pid, 5) or not _at(pid, 7) or not _at(orc, 2):
        raise OrderRefused("ORC-2, OBR-4 component 4, PID-5 and PID-7 are required")
    family, _, given = _at(pid, 5).partition("^")
    person = Person(
        number=_at(pid, 3).split("^")[0],
        family=family,
        given=given.split("^")[0],
        birth_date=_at(pid, 7),
        gender=_GENDERS.get(_at(pid, 8), "unknown"),
    )
    now = datetime.now(UTC).strftime("%Y%m%d%H%M%S")
    control_id = secrets.token_hex(8)
    report = Report(
        control_id=control_id,
        filler=f"WX{control_id[:8].upper()}",
        placer=_at(orc, 2),
        person=person,
        lines=PANELS["uti_positive"],
        collected=now,
        reported=now,
        code=f"{test[3]}^{test[4]}^L",
    )
    return Message(control_id, write_oru(report))


def _at(fields: list[str], number: int) -> str:
    return fields[number] if number < len(fields) else ""
