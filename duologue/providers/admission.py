"""How many calls to a model may run at once. Arithmetic on one event loop: nothing here waits."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

__all__ = ["Admission", "Slot"]


class Admission:
    """Counts the calls to each model against its cap.

    Args:
        caps: Calls at the same time, by model; a model that is missing or `None` has no cap.
    """

    def __init__(self, caps: Mapping[str, int | None]) -> None:
        self._caps = caps
        self._running: dict[str, int] = {}

    def try_admit(self, model: str) -> "Slot | None":
        """A slot, to be given back by leaving its `with` block; `None` when the model is at its cap."""
        running = self._running.get(model, 0)
        cap = self._caps.get(model)
        if cap is not None and running >= cap:
            return None
        self._running[model] = running + 1
        return Slot(self, model)

    def running(self, model: str) -> int:
        """Calls that hold a slot now."""
        return self._running.get(model, 0)

    def release(self, model: str) -> None:
        """For `Slot` only: one call less."""
        running = self._running[model] - 1
        assert running >= 0, "a slot was given back twice"
        self._running[model] = running


class Slot:
    """The right to make one call. Entered once."""

    __slots__ = ("_admission", "_model")

    def __init__(self, admission: Admission, model: str) -> None:
        self._admission = admission
        self._model = model

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.release(self._model)
