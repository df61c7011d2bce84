"""What the runtime reports of itself: one method per event, taking plain values and looking nothing up.

`Telemetry` does nothing; it is the default everywhere, so that an embedded runtime costs its host nothing.
`Metrics` counts and draws the Prometheus text of `/metrics`. No method may be given a prompt, an answer, a
key or a name that a user chose.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping

__all__ = ["Telemetry", "Metrics"]


class Telemetry:
    """Receiver of events that ignores all of them. Methods must return at once and must not raise."""

    __slots__ = ()

    def actor_crashed(self, *, actor: str, reason: str) -> None:
        """An actor ended for another reason than being asked to. `actor` is its class's name."""

    def actor_restarted(self, *, actor: str) -> None:
        """A supervisor started an actor again."""

    def late_reply_dropped(self, *, actor: str) -> None:
        """A reply came after its caller had given up."""

    def task_zombie(self, *, actor: str) -> None:
        """A task swallowed its cancellation and was left behind."""

    def loop_held(self, *, actor: str, message: str, seconds: float) -> None:
        """One handler kept the event loop longer than the watchdog allows."""

    def dialogue_started(self) -> None:
        """A dialogue's actor is in memory and loaded."""

    def dialogue_retired(self) -> None:
        """A dialogue's actor left memory."""

    def turn_started(self, *, service: str) -> None:
        """A turn was opened."""

    def turn_ended(self, *, service: str, outcome: str, seconds: float) -> None:
        """A turn reached its terminal event."""

    def first_token(self, *, service: str, tier: str, seconds: float) -> None:
        """The first content of a turn came, this long after it was opened."""

    def attempt_failed(self, *, model: str, tier: str, category: str) -> None:
        """One call to a model failed."""

    def tokens_used(self, *, model: str, input_tokens: int | None, output_tokens: int | None) -> None:
        """A provider told its count for one attempt."""

    def committed(self, *, seconds: float) -> None:
        """A write to the store was confirmed."""

    def commit_failed(self, *, code: str) -> None:
        """A write to the store was refused or not confirmed."""

    def viewer_attached(self) -> None:
        """Somebody watches a dialogue."""

    def viewer_detached(self) -> None:
        """Somebody stopped watching."""

    def socket_opened(self) -> None:
        """A client connected."""

    def socket_closed(self, *, code: int) -> None:
        """A client's connection ended."""

    def request_served(self, *, method: str, route: str, status: int, seconds: float) -> None:
        """An HTTP request was answered. `route` is the pattern, never the path."""


_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
_Labels = tuple[tuple[str, str], ...]


class _Family:
    """One metric with its series. Bounded: label values come from code and configuration, not from users."""

    __slots__ = ("help", "kind", "name", "series")

    def __init__(self, name: str, kind: str, help_text: str) -> None:
        self.name = name
        self.kind = kind
        self.help = help_text
        self.series: dict[_Labels, float] = {}

    def add(self, amount: float, **labels: str) -> None:
        key = tuple(sorted(labels.items()))
        self.series[key] = self.series.get(key, 0.0) + amount

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, value in sorted(self.series.items()):
            yield f"{self.name}{_labels(labels)} {_number(value)}"


class _Histogram(_Family):
    """Counts by upper bound in seconds, as Prometheus wants them."""

    __slots__ = ("buckets", "sums")

    def __init__(self, name: str, help_text: str) -> None:
        super().__init__(name, "histogram", help_text)
        self.buckets: dict[_Labels, list[int]] = {}
        self.sums: dict[_Labels, float] = {}

    def observe(self, seconds: float, **labels: str) -> None:
        key = tuple(sorted(labels.items()))
        counts = self.buckets.setdefault(key, [0] * (len(_SECONDS) + 1))
        counts[bisect_left(_SECONDS, seconds)] += 1
        self.sums[key] = self.sums.get(key, 0.0) + seconds

    def lines(self) -> Iterator[str]:
        yield f"# HELP {self.name} {self.help}"
        yield f"# TYPE {self.name} {self.kind}"
        for labels, counts in sorted(self.buckets.items()):
            total = 0
            for bound, count in zip((*map(_number, _SECONDS), "+Inf"), counts, strict=True):
                total += count
                yield f"{self.name}_bucket{_labels((*labels, ('le', bound)))} {total}"
            yield f"{self.name}_sum{_labels(labels)} {_number(self.sums[labels])}"
            yield f"{self.name}_count{_labels(labels)} {total}"


class Metrics(Telemetry):
    """Counts every event in memory. One per runtime; not shared between threads."""

    __slots__ = ("_families", "_histograms")

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}
        self._histograms: dict[str, _Histogram] = {}

    def _counter(self, name: str, help_text: str) -> _Family:
        return self._families.setdefault(name, _Family(name, "counter", help_text))

    def _gauge(self, name: str, help_text: str) -> _Family:
        return self._families.setdefault(name, _Family(name, "gauge", help_text))

    def _histogram(self, name: str, help_text: str) -> _Histogram:
        return self._histograms.setdefault(name, _Histogram(name, help_text))

    def render(self) -> str:
        """All series in the Prometheus text format, version 0.0.4."""
        families: list[_Family] = [*self._families.values(), *self._histograms.values()]
        return "".join(f"{line}\n" for family in families for line in family.lines())

    def actor_crashed(self, *, actor: str, reason: str) -> None:  # noqa: ARG002 - a reason is unbounded, so no label
        self._counter("duologue_actor_crashes_total", "Actors that ended unasked.").add(1, actor=actor)

    def actor_restarted(self, *, actor: str) -> None:
        self._counter("duologue_actor_restarts_total", "Actors started again.").add(1, actor=actor)

    def late_reply_dropped(self, *, actor: str) -> None:
        self._counter("duologue_late_replies_total", "Replies that came too late.").add(1, actor=actor)

    def task_zombie(self, *, actor: str) -> None:
        self._counter("duologue_zombie_tasks_total", "Tasks that swallowed cancellation.").add(1, actor=actor)

    def loop_held(self, *, actor: str, message: str, seconds: float) -> None:
        self._histogram("duologue_loop_held_seconds", "Handlers that held the loop too long.").observe(
            seconds, actor=actor, message=message
        )

    def dialogue_started(self) -> None:
        self._gauge("duologue_dialogues_awake", "Dialogues in memory.").add(1)

    def dialogue_retired(self) -> None:
        self._gauge("duologue_dialogues_awake", "Dialogues in memory.").add(-1)

    def turn_started(self, *, service: str) -> None:
        self._gauge("duologue_turns_open", "Turns without a terminal event.").add(1)
        self._counter("duologue_turns_total", "Turns that were opened.").add(1, service=service)

    def turn_ended(self, *, service: str, outcome: str, seconds: float) -> None:
        self._gauge("duologue_turns_open", "Turns without a terminal event.").add(-1)
        self._histogram("duologue_turn_seconds", "From a turn's opening to its end.").observe(
            seconds, service=service, outcome=outcome
        )

    def first_token(self, *, service: str, tier: str, seconds: float) -> None:
        self._histogram(
            "duologue_first_token_seconds", "From a turn's opening to its first content."
        ).observe(seconds, service=service, tier=tier)

    def attempt_failed(self, *, model: str, tier: str, category: str) -> None:
        self._counter("duologue_attempts_failed_total", "Calls to models that failed.").add(
            1, model=model, tier=tier, category=category
        )

    def tokens_used(self, *, model: str, input_tokens: int | None, output_tokens: int | None) -> None:
        family = self._counter("duologue_tokens_total", "Tokens as the providers counted them.")
        for kind, amount in (("input", input_tokens), ("output", output_tokens)):
            if amount is not None:
                family.add(amount, model=model, kind=kind)

    def committed(self, *, seconds: float) -> None:
        self._histogram("duologue_commit_seconds", "Writes to the store until confirmed.").observe(seconds)

    def commit_failed(self, *, code: str) -> None:
        self._counter("duologue_commits_failed_total", "Writes that were not confirmed.").add(1, code=code)

    def viewer_attached(self) -> None:
        self._gauge("duologue_viewers", "Attached viewers.").add(1)

    def viewer_detached(self) -> None:
        self._gauge("duologue_viewers", "Attached viewers.").add(-1)

    def socket_opened(self) -> None:
        self._gauge("duologue_sockets", "Open WebSockets.").add(1)

    def socket_closed(self, *, code: int) -> None:
        self._gauge("duologue_sockets", "Open WebSockets.").add(-1)
        self._counter("duologue_socket_closes_total", "WebSockets that ended.").add(1, code=str(code))

    def request_served(self, *, method: str, route: str, status: int, seconds: float) -> None:
        self._histogram("duologue_request_seconds", "HTTP requests.").observe(
            seconds, method=method, route=route, status=str(status)
        )


def _labels(labels: _Labels | Mapping[str, str]) -> str:
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    quoted = ",".join(f'{name}="{_escape(value)}"' for name, value in pairs)
    return f"{{{quoted}}}" if quoted else ""


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)
