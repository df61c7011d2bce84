"""What a request's list of messages and its JSON cost, for histories of given lengths; run in a process of its own.

`python -m benchmarks.prompt_cost 10 10000` prints milliseconds of CPU: `[{"messages": 0.01, "json": 0.01}, ...]`.
"""

import sys
import time
from collections.abc import Callable

import orjson

from benchmarks.scene import SCRIPTED_ANSWER
from benchmarks.workload import build_prompt
from duologue.dialogue.history import History
from duologue.messages import Message, MessageId, Role, TurnId
from duologue.providers.openai_chat import build_body
from duologue.providers.port import CompletionRequest
from duologue.store.port import TurnClosed, TurnOpened, TurnOutcome

_SECONDS = 2.0


def _build_history(length: int) -> History:
    """As after `length / 2` turns of the measure."""
    history = History()
    for place in range(length // 2):
        turn = TurnId(f"t_{place:032x}")
        question, answer = (
            Message(MessageId(f"{kind}_{place:032x}"), role, content, turn, 1_700_000_000.0)
            for kind, role, content in (
                ("q", Role.USER, build_prompt(place)),
                ("a", Role.ASSISTANT, SCRIPTED_ANSWER),
            )
        )
        history.apply(TurnOpened(turn, (question.id,), (question,)))
        history.apply(TurnClosed(turn, 1, TurnOutcome.COMPLETED, answer))
    return history


def _cost(work: Callable[[], object]) -> float:
    """Milliseconds of CPU for one call, over many."""
    work()
    started, calls = time.process_time(), 0
    while (used := time.process_time() - started) < _SECONDS:
        work()
        calls += 1
    return 1000 * used / calls


def _costs(length: int) -> dict[str, float]:
    history = _build_history(length)
    request = CompletionRequest(history.prompt(None))
    return {
        "messages": _cost(lambda: history.prompt(None)),
        "json": _cost(lambda: build_body("bench", request)),
    }


if __name__ == "__main__":
    print(orjson.dumps([_costs(int(length)) for length in sys.argv[1:]]).decode())
