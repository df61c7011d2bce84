"""Tickets: used once, soon, and bounded."""

import threading

import pytest

from duologue.errors import TooMany
from duologue.web.tickets import Tickets


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def tickets(clock: Clock, **options: int) -> Tickets:
    names = iter(f"ticket-{number}" for number in range(10_000))
    return Tickets(clock=clock, random_text=lambda: next(names), **options)


def test_a_ticket_opens_once():
    box = tickets(Clock())
    ticket = box.issue()
    assert box.redeem(ticket)
    assert not box.redeem(ticket)


def test_a_ticket_is_good_for_thirty_seconds():
    clock = Clock()
    box = tickets(clock)
    early, late = box.issue(), box.issue()
    clock.now = 29.9
    assert box.redeem(early)
    clock.now = 30.0
    assert not box.redeem(late)


@pytest.mark.parametrize("guess", ["", "ticket", "ticket-1", "\ud800", "é" * 10_000])
def test_a_ticket_that_was_never_given_out_opens_nothing(guess: str):
    box = tickets(Clock())
    box.issue()
    assert not box.redeem(guess)


def test_how_many_may_be_out_is_bounded_and_old_ones_make_room():
    clock = Clock()
    box = tickets(clock, count_max=3)
    for _ in range(3):
        box.issue()
    with pytest.raises(TooMany):
        box.issue()
    clock.now = 30.0
    box.issue()
    assert len(box) == 1


def test_of_a_thousand_races_each_has_one_winner():
    box = tickets(Clock())
    for _ in range(1_000):
        ticket = box.issue()
        wins: list[bool] = []
        threads = [threading.Thread(target=lambda: wins.append(box.redeem(ticket))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(wins) == [False, True]


def test_the_tickets_themselves_are_not_kept():
    box = tickets(Clock())
    ticket = box.issue()
    assert ticket not in repr(box._expires_at)
