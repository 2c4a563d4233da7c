"""Receivers take turns: a slow one never has all threads of a process."""

from healthcloud.events.turns import AT_ONCE, SLOW_SECONDS, Turns


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def known_turns(clock: Clock | None = None) -> Turns:
    """Turns of eight threads in which `a`, `b` and `slow` have answered quickly before."""
    turns = Turns(8, clock or Clock())
    for name in ("a", "b", "slow"):
        turns.take(name)
        turns.give_back(name, 0.01)
    return turns


def test_a_receiver_gets_a_few_requests_at_once_and_the_rest_later() -> None:
    turns = known_turns()
    assert [turns.take("a") for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
    waits = [turns.take("a") for _ in range(3)]
    assert waits == sorted(waits)
    assert 0.05 < waits[0] < waits[2] < 1


def test_other_receivers_are_not_touched() -> None:
    turns = known_turns()
    for _ in range(10):
        turns.take("a")
    assert turns.take("b") == 0.0


def test_what_is_given_back_can_be_taken_again() -> None:
    turns = known_turns()
    for _ in range(AT_ONCE):
        turns.take("a")
    turns.give_back("a", 0.01)
    assert turns.take("a") == 0.0
    assert turns.take("a") > 0


def test_a_slow_receiver_gets_one_request_at_a_time_and_long_waits() -> None:
    turns = known_turns()
    for _ in range(3):
        turns.take("slow")
        turns.give_back("slow", 15.0)
    assert turns.take("slow") == 0.0
    first, second = turns.take("slow"), turns.take("slow")
    assert 5 < first < 16
    assert 5 < second - first < 16


def test_a_receiver_that_is_fast_again_has_its_room_back() -> None:
    turns = known_turns()
    for seconds in (15.0, *[0.01] * 8):
        turns.take("a")
        turns.give_back("a", seconds)
    assert [turns.take("a") for _ in range(AT_ONCE)] == [0.0] * AT_ONCE


def test_a_receiver_that_never_answered_gets_one_request() -> None:
    turns = Turns(8, Clock())
    assert turns.take("new") == 0.0
    assert turns.take("new") > 0
    turns.give_back("new", 0.01)
    assert [turns.take("new") for _ in range(AT_ONCE)] == [0.0] * AT_ONCE


def test_receivers_that_are_new_or_slow_leave_a_quarter_of_the_threads() -> None:
    turns = known_turns()
    assert [turns.take(f"new_{n}") for n in range(6)] == [0.0] * 6
    assert turns.take("new_6") > 0
    assert [turns.take("a") for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
    turns.give_back("new_0", 0.01)
    assert turns.take("new_6") == 0.0


def test_slow_receivers_share_half_of_the_threads_and_leave_some_to_new_ones() -> None:
    clock = Clock()
    turns = known_turns(clock)
    for number in range(5):
        turns.take(f"slow_{number}")
        turns.give_back(f"slow_{number}", 15.0)
    assert [turns.take(f"slow_{n}") for n in range(4)] == [0.0] * 4
    assert turns.take("slow_4") > 0
    assert turns.take("new_0") == 0.0
    turns.give_back("slow_0", 15.0)
    assert turns.take("slow_4") == 0.0


def test_a_receiver_whose_answer_is_overdue_counts_as_slow_already() -> None:
    clock = Clock()
    turns = known_turns(clock)
    assert [turns.take("a") for _ in range(2)] == [0.0] * 2
    clock.seconds += SLOW_SECONDS + 1
    assert turns.take("a") > 0
    assert turns.take("b") == 0.0
    turns.give_back("a", SLOW_SECONDS + 1)
    turns.give_back("a", SLOW_SECONDS + 1)
    assert turns.take("a") == 0.0


def test_the_longer_an_answer_takes_the_later_others_try_again() -> None:
    clock = Clock()
    turns = Turns(8, clock)
    assert turns.take("new") == 0.0
    soon = turns.take("new")
    clock.seconds += 10
    assert soon < 1 < 9 < turns.take("new")
