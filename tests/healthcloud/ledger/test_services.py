"""Asking for work, claiming it, settling it, and bringing dead letters back."""

from datetime import timedelta

import pytest
from django.db import connection
from django.db.utils import Error as DatabaseError
from django.utils import timezone

from healthcloud.ledger import claims, queries, services
from healthcloud.ledger.claims import Terms
from healthcloud.ledger.handlers import ClaimedWork
from healthcloud.ledger.models import DueWork
from healthcloud.tenancy.scope import Scope, public_scope, tenant_scope

TERMS = Terms(lease=timedelta(seconds=10), tenant_cap=64)
HOUR = timedelta(hours=1)


def ask(scope: Scope, ref: str = "run_1", **options: object) -> DueWork:
    """Enqueue one piece of work of kind `test.work`; return the row as its tenant may not."""
    services.enqueue(scope=scope, kind="test.work", ref=ref, **options)  # type: ignore[arg-type]
    with public_scope():
        return DueWork.objects.filter(kind="test.work", ref=ref).latest("id")


def claim(queue: str = "control", after: str = "", terms: Terms = TERMS) -> ClaimedWork:
    """Claim work that is known to be there."""
    work = claims.claim(queue, after=after, terms=terms)
    assert work is not None
    return work


def expire_leases() -> None:
    """Let all leases end now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE ledger_duework SET lease_until = clock_timestamp() - interval '1 s'"
            " WHERE state = 'running'"
        )


def test_work_that_was_asked_for_is_claimed_with_its_scope(riverside_scope: Scope) -> None:
    work = ask(riverside_scope)
    claimed = claim()
    assert (claimed.id, claimed.kind, claimed.ref) == (work.id, "test.work", "run_1")
    assert claimed.scope == riverside_scope == work.scope
    assert claimed.attempt == 1


def test_work_can_be_asked_for_inside_the_tenant_scope(riverside_scope: Scope) -> None:
    with tenant_scope(riverside_scope):
        ask(riverside_scope)
    assert claim().scope == riverside_scope


def test_a_tenant_cannot_ask_for_work_of_another_tenant(
    riverside_scope: Scope, lakeside_scope: Scope
) -> None:
    with pytest.raises(DatabaseError, match="of its own only"), tenant_scope(riverside_scope):
        ask(lakeside_scope)
    assert not DueWork.objects.exists()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM public.ledger_duework",
        "DELETE FROM public.ledger_duework",
        "UPDATE public.ledger_duework SET due_at = now()",
    ],
)
def test_a_tenants_role_can_neither_read_nor_change_the_ledger(
    riverside_scope: Scope, lakeside_scope: Scope, statement: str
) -> None:
    ask(lakeside_scope)
    with (
        pytest.raises(DatabaseError, match="permission denied"),
        tenant_scope(riverside_scope),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)
    assert DueWork.objects.count() == 1


def test_work_of_a_transaction_that_fails_is_not_there(riverside_scope: Scope) -> None:
    def fail() -> None:
        with tenant_scope(riverside_scope):
            ask(riverside_scope)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not DueWork.objects.exists()


def test_an_unknown_queue_is_refused(riverside_scope: Scope) -> None:
    with pytest.raises(ValueError, match="unknown queue 'fast'"):
        ask(riverside_scope, queue="fast")


def test_work_that_is_due_later_is_not_claimed_before(riverside_scope: Scope) -> None:
    ask(riverside_scope, due_at=timezone.now() + HOUR)
    assert claims.claim("control", after="", terms=TERMS) is None
    assert claim(terms=Terms(TERMS.lease, 64, ahead=2 * HOUR)).ref == "run_1"


def test_work_of_another_queue_is_left_alone(riverside_scope: Scope) -> None:
    ask(riverside_scope, queue="bulk")
    assert claims.claim("control", after="", terms=TERMS) is None


def test_claimed_work_is_not_claimed_twice_until_its_lease_ends(riverside_scope: Scope) -> None:
    ask(riverside_scope)
    first = claim()
    assert claims.claim("control", after="", terms=TERMS) is None
    expire_leases()
    second = claim()
    assert second.id == first.id
    assert second.token > first.token
    assert second.attempt == 2


def test_the_token_of_a_lost_lease_settles_nothing(riverside_scope: Scope) -> None:
    ask(riverside_scope)
    stale = claim()
    expire_leases()
    fresh = claim()
    assert claims.extend([(stale, False)], lease=TERMS.lease) == {}
    assert claims.finish(stale) is None
    assert claims.release(stale, due_at=timezone.now(), error="x") is None
    assert not claims.bury(stale, error="x")
    assert claims.finish(fresh) is False
    assert not DueWork.objects.exists()


def test_tokens_rise_over_rows_that_come_and_go(riverside_scope: Scope) -> None:
    tokens = []
    for _ in range(3):
        ask(riverside_scope, dedupe_key="run_1")
        work = claim()
        tokens.append(work.token)
        claims.finish(work)
    assert tokens == sorted(set(tokens))


def test_the_same_dedupe_key_keeps_one_row_with_the_earlier_time(riverside_scope: Scope) -> None:
    later = timezone.now() + HOUR
    first = ask(riverside_scope, dedupe_key="run_1", due_at=later)
    second = ask(riverside_scope, dedupe_key="run_1", due_at=later - HOUR / 2)
    third = ask(riverside_scope, dedupe_key="run_1", due_at=later + HOUR)
    assert first.id == second.id == third.id
    assert third.due_at == later - HOUR / 2


def test_the_same_dedupe_key_in_another_tenant_is_another_row(
    riverside_scope: Scope, lakeside_scope: Scope
) -> None:
    first = ask(riverside_scope, dedupe_key="run_1")
    second = ask(lakeside_scope, dedupe_key="run_1")
    assert first.id != second.id


def test_work_that_is_rung_for_while_held_is_looked_at_once_more(riverside_scope: Scope) -> None:
    ask(riverside_scope, dedupe_key="run_1")
    held = claim()
    ask(riverside_scope, dedupe_key="run_1")
    assert claims.finish(held) is True
    again = claim()
    assert again.id == held.id
    assert again.attempt == 1
    assert claims.finish(again) is False
    assert not DueWork.objects.exists()


def test_a_ring_while_held_brings_a_later_retry_forward(riverside_scope: Scope) -> None:
    ask(riverside_scope, dedupe_key="run_1")
    held = claim()
    ask(riverside_scope, dedupe_key="run_1")
    assert claims.release(held, due_at=timezone.now() + HOUR, error="") is True


def test_waiting_forgets_failures_and_an_error_counts_them(riverside_scope: Scope) -> None:
    ask(riverside_scope)
    claims.release(claim(), due_at=timezone.now(), error="timeout")
    work = claim()
    assert work.attempt == 2
    assert DueWork.objects.get().last_error == "timeout"
    claims.release(work, due_at=timezone.now(), error="")
    assert claim().attempt == 1


def test_progress_forgets_failures(riverside_scope: Scope) -> None:
    ask(riverside_scope)
    claim()
    expire_leases()
    work = claim()
    assert work.attempt == 2
    assert claims.extend([(work, True)], lease=TERMS.lease) == {work.id: True}
    assert DueWork.objects.get().attempts == 1


def test_tenants_take_turns(riverside_scope: Scope, lakeside_scope: Scope) -> None:
    for number in range(5):
        ask(riverside_scope, ref=f"noisy_{number}")
    ask(lakeside_scope, ref="quiet")
    served, after = [], riverside_scope.environment_id
    for _ in range(3):
        work = claim(after=after)
        after = work.scope.environment_id
        served.append(work.ref)
    assert served == ["quiet", "noisy_0", "noisy_1"]


def test_a_tenant_at_its_cap_waits_and_others_go_on(
    riverside_scope: Scope, lakeside_scope: Scope
) -> None:
    terms = Terms(TERMS.lease, tenant_cap=2)
    for number in range(4):
        ask(riverside_scope, ref=f"noisy_{number}")
    ask(lakeside_scope, ref="quiet")
    after = lakeside_scope.environment_id
    refs = [claim(after=after, terms=terms).ref for _ in range(3)]
    assert refs == ["noisy_0", "noisy_1", "quiet"]
    assert claims.claim("control", after=after, terms=terms) is None
    expire_leases()
    assert claims.claim("control", after=after, terms=terms) is not None


def test_a_dead_letter_is_kept_and_can_be_replayed(riverside_scope: Scope) -> None:
    ask(riverside_scope, dedupe_key="run_1")
    dead = claim()
    assert claims.bury(dead, error="poison")
    assert claims.claim("control", after="", terms=TERMS) is None
    letters = queries.dead_letters(environment_id=riverside_scope.environment_id)
    assert [(letter.id, letter.last_error) for letter in letters] == [(dead.id, "poison")]
    services.replay(work_id=dead.id, environment_id=riverside_scope.environment_id)
    again = claim()
    assert (again.id, again.attempt) == (dead.id, 1)


def test_a_dead_letter_of_another_tenant_is_not_found(
    riverside_scope: Scope, lakeside_scope: Scope
) -> None:
    ask(riverside_scope)
    dead = claim()
    claims.bury(dead, error="poison")
    with pytest.raises(services.DeadLetterNotFound):
        services.replay(work_id=dead.id, environment_id=lakeside_scope.environment_id)
    assert DueWork.objects.get().state == "dead"


def test_a_dead_letter_whose_work_was_asked_for_again_is_not_replayed(
    riverside_scope: Scope,
) -> None:
    ask(riverside_scope, dedupe_key="run_1")
    dead = claim()
    claims.bury(dead, error="poison")
    ask(riverside_scope, dedupe_key="run_1")
    with pytest.raises(services.AlreadyQueued):
        services.replay(work_id=dead.id, environment_id=riverside_scope.environment_id)


def test_backlogs_count_what_is_due(riverside_scope: Scope) -> None:
    ask(riverside_scope)
    ask(riverside_scope, ref="run_2", queue="bulk")
    ask(riverside_scope, ref="run_3", due_at=timezone.now() + HOUR)
    claim()
    assert [(b.queue, b.due) for b in queries.backlogs()] == [("bulk", 1)]
    soon = queries.seconds_to_next()
    assert soon is not None
    assert 9 < soon <= 10  # the lease that runs out next
    expire_leases()
    assert [(b.queue, b.due) for b in queries.backlogs()] == [("bulk", 1), ("control", 1)]
