"""Fixtures of the ledger tests."""

import pytest


@pytest.fixture(autouse=True)
def only_our_work(request: pytest.FixtureRequest) -> None:
    """Start without the due work of other tests, where the test is rolled back anyway."""
    if "db" in request.fixturenames and "live_tenant" not in request.fixturenames:
        request.getfixturevalue("empty_ledger")
