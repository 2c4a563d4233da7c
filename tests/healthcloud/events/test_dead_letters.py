"""Dead letters over HTTP: listed, replayed, discarded, and closed to others."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from healthcloud.audit.models import AuditEvent
from healthcloud.ledger import claims
from healthcloud.ledger.claims import Terms
from healthcloud.ledger.models import DueWork
from healthcloud.ledger.services import enqueue
from healthcloud.ledger.worker import _terms
from healthcloud.tenancy.scope import Scope, tenant_scope

TERMS: Terms = _terms()


@pytest.fixture
def letter(riverside_scope: Scope, empty_ledger: None) -> DueWork:
    """Work of the screening project that was given up."""
    enqueue(scope=riverside_scope, kind="connector.acknowledge", ref="ack_1")
    work = claims.claim("control", after="", terms=TERMS)
    assert work is not None
    claims.bury(work, error="ConnectionFailed")
    return DueWork.objects.get()


def test_dead_letters_are_listed_with_what_they_are_about(
    letter: DueWork, client_for: Callable[..., APIClient]
) -> None:
    client = client_for("riverside", project="screening")
    answer = client.get("/v1/dead-letters?kind=connector.acknowledge").json()
    shown = answer["data"][0]
    assert answer["meta"]["total"] == 1
    assert (shown["kind"], shown["ref"]) == ("connector.acknowledge", "ack_1")
    assert (shown["error"], shown["attempts"]) == ("ConnectionFailed", 1)
    assert client.get("/v1/dead-letters?kind=other").json()["data"] == []
    assert client.get(f"/v1/dead-letters/{letter.id}").json()["id"] == letter.id


def test_a_replayed_letter_is_due_again_and_in_the_trail(
    letter: DueWork, client_for: Callable[..., APIClient], riverside_scope: Scope
) -> None:
    client = client_for("riverside", project="screening")
    answer = client.post(f"/v1/dead-letters/{letter.id}/replay")
    assert (answer.status_code, answer.json()["ref"]) == (202, "ack_1")
    letter.refresh_from_db()
    assert (letter.state, letter.attempts) == ("ready", 0)
    with tenant_scope(riverside_scope):
        noted = AuditEvent.objects.get(action="dead_letter.replay")
        assert noted.target_id == str(letter.id)
    assert client.post(f"/v1/dead-letters/{letter.id}/replay").status_code == 404


def test_a_discarded_letter_is_gone(
    letter: DueWork, client_for: Callable[..., APIClient], riverside_scope: Scope
) -> None:
    client = client_for("riverside")
    answer = client.delete(f"/v1/dead-letters/{letter.id}")
    assert (answer.status_code, answer.json()["deleted"]) == (200, True)
    assert not DueWork.objects.filter(id=letter.id).exists()
    with tenant_scope(riverside_scope):
        assert AuditEvent.objects.filter(action="dead_letter.discard").count() == 1


@pytest.mark.parametrize(
    ("organization", "project", "scopes", "status"),
    [
        ("lakeside", "screening", None, 404),
        ("riverside", "referrals", None, 404),
        ("riverside", "screening", ["workflows:run", "webhooks:write"], 403),
    ],
)
def test_others_find_nothing_and_move_nothing(
    letter: DueWork,
    client_for: Callable[..., APIClient],
    organization: str,
    project: str,
    scopes: list[str] | None,
    status: int,
) -> None:
    client = client_for(organization, project=project, scopes=scopes)
    place = f"/v1/dead-letters/{letter.id}"
    answers = [client.get(place), client.post(f"{place}/replay"), client.delete(place)]
    assert [answer.status_code for answer in answers] == [status] * 3
    if status == 404:
        assert client.get("/v1/dead-letters").json()["data"] == []
    letter.refresh_from_db()
    assert letter.state == "dead"
