"""A connector's budget: so many calls a minute over all processes, and a place in the line."""

import uuid
from typing import Any, cast

import pytest

from assets.runtime import budgets
from assets.runtime.context import CallContext
from assets.sdk import AssetError
from healthcloud.api.throttling import valkey
from healthcloud.tenancy.scope import Scope

SCOPE = Scope("org_a", "env_a", "sandbox", "t_a", "proj_a", 1)


def context(deployment: str, calls: int | None, *, key: str = "", returns: bool = False) -> Any:
    from assets import registry

    return CallContext(
        package=registry.package("connector_quest_diagnostics_v1"),
        scope=SCOPE,
        deployment_id=deployment,
        release_number=1,
        config={} if calls is None else {"calls_per_minute": calls},
        secrets={},
        now=None,  # type: ignore[arg-type]  # no call is made
        run_id="",
        idempotency_key=key or uuid.uuid4().hex,
        parent={"run_id": "run_1", "step_id": "fetch"} if returns else None,
    )


@pytest.fixture
def deployment() -> str:
    """A deployment whose budget nobody has used."""
    return f"dep_{uuid.uuid4().hex}"


def pass_time(deployment: str, seconds: float) -> None:
    """Let the budget see so many seconds go by."""
    for name in valkey().scan_iter(f"hc:budget:{{{deployment}}}*"):
        moment = float(cast("bytes", valkey().get(name)))
        valkey().set(name, str(moment - seconds * 1000), ex=60)


def wait(deployment: str, **of_call: Any) -> float:
    """Return how long a call is told to wait, which it is."""
    with pytest.raises(AssetError) as spent:
        budgets.take(context(deployment, 20, **of_call))
    assert (spent.value.code, spent.value.retryable) == ("rate_budget_spent", True)
    return spent.value.retry_after or 0.0


def test_a_tenth_of_a_minutes_calls_go_at_once_and_then_one_by_one(deployment: str) -> None:
    for _ in range(2):
        budgets.take(context(deployment, 20))
    assert 0 < wait(deployment) <= 3
    pass_time(deployment, 3)
    budgets.take(context(deployment, 20))
    assert 0 < wait(deployment) <= 3


def test_who_comes_back_has_a_place_in_the_line(deployment: str) -> None:
    for _ in range(2):
        budgets.take(context(deployment, 20, returns=True))
    first = wait(deployment, key="first", returns=True)
    second = wait(deployment, key="second", returns=True)
    assert first <= 3 < second <= 6
    assert wait(deployment, key="first", returns=True) <= first
    pass_time(deployment, 6)
    for key in ("second", "first"):
        budgets.take(context(deployment, 20, key=key, returns=True))


def test_refused_calls_take_no_place(deployment: str) -> None:
    for _ in range(2):
        budgets.take(context(deployment, 20))
    assert max(wait(deployment) for _ in range(5)) <= 3


def test_deployments_share_nothing_and_none_means_no_limit(deployment: str) -> None:
    for _ in range(3):
        budgets.take(context(deployment, None))
    budgets.take(context(deployment, 1))
    with pytest.raises(AssetError):
        budgets.take(context(deployment, 1))
    budgets.take(context(f"{deployment}_other", 1))


def test_nobody_is_refused_while_valkey_is_down(deployment: str, settings: Any) -> None:
    settings.VALKEY_URL = "redis://127.0.0.1:1/0"
    for _ in range(3):
        budgets.take(context(deployment, 1))
