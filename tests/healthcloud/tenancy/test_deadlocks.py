"""What ended as a deadlock is done again, and nothing else."""

import psycopg
import pytest
from django.db import OperationalError

from healthcloud.tenancy.deadlocks import despite_deadlocks


class Work:
    """Fails so many times, each with this cause."""

    def __init__(self, failures: int, cause: type[psycopg.Error]) -> None:
        self.failures = failures
        self.cause = cause
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise OperationalError from self.cause()
        return "done"


def test_a_deadlock_is_tried_again() -> None:
    work = Work(2, psycopg.errors.DeadlockDetected)
    assert (despite_deadlocks(work), work.calls) == ("done", 3)


@pytest.mark.parametrize(
    ("failures", "cause", "calls"),
    [(3, psycopg.errors.DeadlockDetected, 3), (1, psycopg.errors.LockNotAvailable, 1)],
)
def test_what_stays_and_what_is_something_else_is_raised(
    failures: int, cause: type[psycopg.Error], calls: int
) -> None:
    work = Work(failures, cause)
    with pytest.raises(OperationalError):
        despite_deadlocks(work)
    assert work.calls == calls


@pytest.mark.django_db
def test_inside_a_transaction_a_deadlock_is_raised() -> None:
    work = Work(1, psycopg.errors.DeadlockDetected)
    with pytest.raises(OperationalError):
        despite_deadlocks(work)
    assert work.calls == 1
