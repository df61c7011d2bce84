"""Who is alive: the judgement of one socket, and one timer for all of them."""

from collections.abc import Callable

import pytest

from duologue.web.liveness import Due, Liveness, Pulse, Sweep

PULSE = Pulse(ping_interval=20.0, pong_timeout=10.0, unanswered_bytes_max=65_536)


def test_a_ping_is_due_after_twenty_seconds_and_the_end_ten_seconds_later():
    liveness = Liveness(PULSE, 100.0)
    assert liveness.due(119.9) is Due.NOTHING
    assert liveness.due(120.0) is Due.PING
    assert liveness.due(129.9) is Due.NOTHING
    assert liveness.due(130.0) is Due.CLOSE


def test_an_answer_puts_the_next_ping_off():
    liveness = Liveness(PULSE, 0.0)
    assert liveness.due(20.0) is Due.PING
    liveness.answered(25.0)
    assert liveness.due(30.0) is Due.NOTHING
    assert liveness.due(45.0) is Due.PING


def test_a_ping_is_wanted_early_once_much_is_unanswered_and_only_once():
    liveness = Liveness(PULSE, 0.0)
    liveness.unanswered_bytes = 65_536
    assert not liveness.wants_ping
    liveness.unanswered_bytes += 1
    assert liveness.wants_ping
    liveness.pinged(3.0)
    assert not liveness.wants_ping
    assert liveness.due(13.0) is Due.CLOSE


def test_an_answer_clears_what_was_unanswered():
    liveness = Liveness(PULSE, 0.0)
    liveness.unanswered_bytes = 100_000
    liveness.answered(1.0)
    assert not liveness.wants_ping


@pytest.mark.parametrize(("phase", "first"), [(0.0, 10.0), (0.5, 15.0), (1.0, 20.0)])
def test_first_pings_are_spread_over_half_an_interval(phase: float, first: float):
    liveness = Liveness(PULSE, 0.0, phase=phase)
    assert liveness.due(first - 0.1) is Due.NOTHING
    assert liveness.due(first) is Due.PING


class Clock:
    """A clock and its timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[Timer] = []
        self.made = 0

    def call_at(self, at: float, callback: Callable[[], None]) -> "Timer":
        timer = Timer(self, at, callback)
        self.timers.append(timer)
        self.made += 1
        return timer

    def move(self, to: float) -> None:
        while due := [timer for timer in self.timers if timer.at <= to]:
            timer = min(due, key=lambda t: t.at)
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            timer.callback()
        self.now = to


class Timer:
    def __init__(self, clock: Clock, at: float, callback: Callable[[], None]) -> None:
        self.clock, self.at, self.callback = clock, at, callback

    def cancel(self) -> None:
        self.clock.timers.remove(self)


class Socket:
    def __init__(self, every: float | None = None) -> None:
        self.every = every
        self.called: list[float] = []

    def on_sweep(self, now: float) -> float | None:
        self.called.append(now)
        return None if self.every is None else now + self.every


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sweep(clock: Clock) -> Sweep:
    return Sweep(clock=lambda: clock.now, call_at=clock.call_at, resolution=0.5)


def test_nobody_is_called_early_and_everybody_within_a_slot(clock: Clock, sweep: Sweep):
    sockets = [Socket() for _ in range(50)]
    for number, socket in enumerate(sockets):
        sweep.schedule(socket, number * 0.13)
    clock.move(100.0)
    for number, socket in enumerate(sockets):
        (at,) = socket.called
        assert number * 0.13 <= at <= number * 0.13 + 0.5


def test_five_thousand_sockets_cost_one_timer(clock: Clock, sweep: Sweep):
    for number in range(5_000):
        sweep.schedule(Socket(), 20.0 + number / 5_000)
    assert len(clock.timers) == 1
    clock.move(30.0)
    assert clock.made <= 5
    assert not clock.timers, "and none while there is nothing to do"


def test_one_that_returns_a_time_is_called_again(clock: Clock, sweep: Sweep):
    socket = Socket(every=10.0)
    sweep.schedule(socket, 10.0)
    clock.move(50.0)
    assert socket.called == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert len(sweep) == 1


def test_an_earlier_wish_moves_it_forward_and_a_later_one_back(clock: Clock, sweep: Sweep):
    early, late = Socket(), Socket()
    sweep.schedule(early, 20.0)
    sweep.schedule(early, 5.0)
    sweep.schedule(late, 5.0)
    sweep.schedule(late, 20.0)
    clock.move(10.0)
    assert (early.called, late.called) == ([5.0], [])
    clock.move(20.0)
    assert late.called == [20.0]


def test_a_cancelled_one_is_not_called_and_the_timer_goes_with_the_last(clock: Clock, sweep: Sweep):
    first, second = Socket(), Socket()
    sweep.schedule(first, 5.0)
    sweep.schedule(second, 6.0)
    sweep.cancel(first)
    sweep.cancel(first)
    sweep.cancel(second)
    assert not clock.timers
    clock.move(10.0)
    assert (first.called, second.called) == ([], [])


def test_one_that_is_cancelled_by_another_in_the_same_slot_is_not_called(clock: Clock, sweep: Sweep):
    second = Socket()

    class Canceller(Socket):
        def on_sweep(self, now: float) -> float | None:
            sweep.cancel(second)
            return super().on_sweep(now)

    first = Canceller()
    sweep.schedule(first, 5.0)
    sweep.schedule(second, 5.0)
    clock.move(6.0)
    assert first.called == [5.0]
    assert second.called == []


def test_one_that_fails_does_not_stop_the_clock_of_the_others(clock: Clock, sweep: Sweep):
    class Broken(Socket):
        def on_sweep(self, now: float) -> float | None:
            raise RuntimeError("broken")

    good = Socket(every=5.0)
    sweep.schedule(Broken(), 5.0)
    sweep.schedule(good, 5.0)
    clock.move(20.0)
    assert good.called == [5.0, 10.0, 15.0, 20.0]
    assert len(sweep) == 1


def test_one_that_asks_for_the_past_is_called_once_per_slot_and_not_for_ever(clock: Clock, sweep: Sweep):
    socket = Socket(every=-100.0)
    sweep.schedule(socket, 1.0)
    clock.move(3.0)
    assert 3 <= len(socket.called) <= 6
