"""Promoting a workflow in Studio: what is missing is shown, and nothing goes without a word."""

from datetime import datetime

import pytest
from django.test import Client

from healthcloud.actors import Actor
from healthcloud.tenancy.scope import Scope, tenant_scope
from tests.studio.conftest import PLACE
from tests.workflows.conftest import definition
from workflows import queries, services

pytestmark = pytest.mark.django_db
AGENT = {"id": "screen", "kind": "agent", "with": {"agent": "agent_diagnostic_v1"}}
QUIET = {"id": "a", "kind": "transform", "with": {"n": 1}}


def published(scope: Scope, step: dict[str, object], actor: Actor, now: datetime) -> None:
    with tenant_scope(scope):
        services.create_workflow(definition=definition(step), actor=actor, now=now)
        services.publish_draft(slug="flow", actor=actor, now=now)


def in_production(scope: Scope) -> int | None:
    with tenant_scope(scope):
        found = queries.workflows().filter(slug="flow").first()
        return found.published_number if found else None


def test_a_workflow_is_promoted_and_seen_in_production(
    bob_browser: Client,
    riverside_scope: Scope,
    riverside_production_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    published(riverside_scope, QUIET, alice_actor, now)
    versions = bob_browser.get(f"{PLACE}/workflows/flow?tab=versions").content.decode()
    assert f"{PLACE}/workflows/flow/promotion" in versions
    page = bob_browser.get(f"{PLACE}/workflows/flow/promotion")
    assert "All that its steps call is deployed there." in page.content.decode()
    assert in_production(riverside_production_scope) is None
    done = bob_browser.post(f"{PLACE}/workflows/flow/promote", follow=True)
    assert done.redirect_chain[-1] == ("/studio/riverside/production/screening/workflows/flow", 302)
    assert "Promoted. It is published in production." in done.content.decode()
    assert "Promote to production" not in done.content.decode()
    assert in_production(riverside_production_scope) == 1


def test_what_is_missing_is_listed_and_goes_only_when_forced(
    bob_browser: Client,
    riverside_scope: Scope,
    riverside_production_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    published(riverside_scope, AGENT, alice_actor, now)
    address = f"{PLACE}/workflows/flow/promotion"
    page = bob_browser.get(address).content.decode()
    assert "`agent_diagnostic_v1` is not installed in production." in page
    refused = bob_browser.post(
        f"{PLACE}/workflows/flow/promote", headers={"Referer": f"http://testserver{address}"}
    )
    assert refused["Location"] == f"http://testserver{address}"
    assert in_production(riverside_production_scope) is None
    bob_browser.post(f"{PLACE}/workflows/flow/promote", {"force": "yes"})
    assert in_production(riverside_production_scope) == 1


def test_production_promotes_nothing_and_a_stranger_sees_nothing(
    bob_browser: Client,
    charlie_browser: Client,
    riverside_scope: Scope,
    riverside_production_scope: Scope,
    alice_actor: Actor,
    now: datetime,
) -> None:
    published(riverside_scope, QUIET, alice_actor, now)
    published(riverside_production_scope, QUIET, alice_actor, now)
    production = PLACE.replace("sandbox", "production")
    assert bob_browser.get(f"{production}/workflows/flow/promotion").status_code == 409
    assert charlie_browser.get(f"{PLACE}/workflows/flow/promotion").status_code == 404
    assert charlie_browser.post(f"{PLACE}/workflows/flow/promote").status_code == 404
    assert in_production(riverside_production_scope) == 1
