"""Receivers take turns: a slow one never has all threads of a process."""

from healthcloud.events.turns import AT_ONCE, Turns


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_a_receiver_gets_a_few_requests_at_once_and_the_rest_later() -> None:
    turns = Turns(Clock())
    assert [turns.take("a") for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
    waits = [turns.take("a") for _ in range(3)]
    assert waits == sorted(waits)
    assert 0.05 < waits[0] < waits[2] < 1


def test_other_receivers_are_not_touched() -> None:
    turns = Turns(Clock())
    for _ in range(10):
        turns.take("a")
    assert turns.take("b") == 0.0


def test_what_is_given_back_can_be_taken_again() -> None:
    turns = Turns(Clock())
    for _ in range(AT_ONCE):
        turns.take("a")
    turns.give_back("a", 0.01)
    assert turns.take("a") == 0.0
    assert turns.take("a") > 0


def test_a_slow_receiver_gets_one_request_at_a_time_and_long_waits() -> None:
    turns = Turns(Clock())
    for _ in range(3):
        turns.take("slow")
        turns.give_back("slow", 15.0)
    assert turns.take("slow") == 0.0
    first, second = turns.take("slow"), turns.take("slow")
    assert 5 < first < 16
    assert 5 < second - first < 16


def test_a_receiver_that_is_fast_again_has_its_room_back() -> None:
    turns = Turns(Clock())
    for seconds in (15.0, *[0.01] * 8):
        turns.take("a")
        turns.give_back("a", seconds)
    assert [turns.take("a") for _ in range(AT_ONCE)] == [0.0] * AT_ONCE
