"""Fixtures of the ledger tests."""

import pytest
from pytest_django.plugin import DjangoDbBlocker

from healthcloud.tenancy.owner import owner_connection


@pytest.fixture(autouse=True)
def only_our_work(request: pytest.FixtureRequest, django_db_blocker: DjangoDbBlocker) -> None:
    """Start without the due work that tests of other modules committed and left."""
    if "live_tenant" in request.fixturenames:
        request.getfixturevalue("live_tenant")
        with django_db_blocker.unblock(), owner_connection() as owner, owner.cursor() as cursor:
            cursor.execute("DELETE FROM ledger_duework")
    elif "db" in request.fixturenames:
        request.getfixturevalue("empty_ledger")
