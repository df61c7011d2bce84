"""`scripted`: a model that plays a script, with faults where the script has them: for tests, demos, drills.

From Python, one script for each call (the last one repeats), each a sequence of steps:

    provider = ScriptedProvider([Say("Once upon "), Fail(Category.TRUNCATED)], [Say("It was fine."), End()])

From the configuration, through `parameters`, all of them optional:

    [models.flaky]
    provider = "scripted"
    parameters = { text = "One two three four", interval = 0.02, fault = "die", at = 3, faults = 1 }

    text         what it says; a word with the blanks after it is a token
    repeat       how many times it says it (1)
    delay        seconds before the first token (0)
    interval     seconds between tokens (0)
    fault        refuse | rate_limited | server_error | hang | die | stall | garbage; left out: none
    at           tokens before die, stall and garbage strike (0); the others strike before any
    faults       how many calls meet the fault (left out: all); later calls go well
    retry_after  seconds that rate_limited asks to wait (left out: it does not say)

`hang` and `stall` wait for ever: it is the attempt's deadlines that end them.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from duologue.messages import FinishReason, Usage
from duologue.providers.failures import Category, ProviderFailure, cut_short
from duologue.providers.port import CompletionRequest, Finished, ProviderEvent, TextDelta, UsageReported

__all__ = [
    "ScriptedProvider",
    "Script",
    "Step",
    "Say",
    "Wait",
    "WaitFor",
    "Hang",
    "Fail",
    "Report",
    "End",
    "words_of",
]


@dataclass(frozen=True, slots=True)
class Say:
    """Text, a token (a word and the blanks after it) per batch, each after `interval` seconds."""

    text: str
    interval: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing for this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class WaitFor:
    """Nothing until the event is set: a test decides when the answer goes on."""

    event: asyncio.Event


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing, for ever."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The attempt fails in this way."""

    category: Category
    http_status: int | None = None
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The provider tells its count."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class End:
    """The terminal mark. A script that ends without one was cut, and fails as `truncated`."""

    reason: FinishReason = FinishReason.STOP


Step = Say | Wait | WaitFor | Hang | Fail | Report | End
Script = Sequence[Step]


class ScriptedProvider:
    """Plays its scripts, one for each call; the last one is played again and again.

    Args:
        scripts: At least one.

    Raises:
        ValueError: There is no script.
    """

    def __init__(self, *scripts: Script) -> None:
        if not scripts:
            raise ValueError("a scripted provider needs a script")
        self._scripts = scripts
        self.calls = 0
        """How many attempts were begun."""
        self.open = 0
        """How many are being played now."""
        self.last_request: CompletionRequest | None = None

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, Any]) -> "ScriptedProvider":
        """The provider that a configuration describes.

        Raises:
            ProviderFailure: `model_misconfigured`, naming the parameters that are wrong.
        """
        try:
            wanted = _Parameters.model_validate(dict(parameters))
        except ValidationError as error:
            names = ", ".join(sorted({str(problem["loc"][0]) for problem in error.errors()}))
            raise ProviderFailure(
                Category.MODEL_MISCONFIGURED, f"a scripted model's parameters are wrong: {names}"
            ) from None
        good = wanted.script(fault=None)
        if wanted.fault is None:
            return cls(good)
        bad = wanted.script(fault=wanted.fault)
        return cls(bad) if wanted.faults is None else cls(*[bad] * wanted.faults, good)

    async def stream(self, request: CompletionRequest) -> AsyncGenerator[Sequence[ProviderEvent], None]:
        script = self._scripts[min(self.calls, len(self._scripts) - 1)]
        self.calls += 1
        self.last_request = request
        self.open += 1
        try:
            for step in script:
                if type(step) is Say:
                    for word in words_of(step.text):
                        await asyncio.sleep(step.interval)
                        yield (TextDelta(word),)
                elif type(step) is Report:
                    yield (UsageReported(step.usage),)
                elif type(step) is End:
                    yield (Finished(step.reason),)
                    return
                else:
                    await _wait_or_fail(step)
            raise cut_short()
        finally:
            self.open -= 1

    async def close(self) -> None:
        """Nothing to release."""


def words_of(text: str) -> list[str]:
    """`text` in pieces of one word and the blanks after it; joined they are `text` again."""
    return re.findall(r"\S+\s*|\s+", text)


async def _wait_or_fail(step: Step) -> None:
    match step:
        case Wait(seconds):
            await asyncio.sleep(seconds)
        case WaitFor(event):
            await event.wait()
        case Hang():
            await asyncio.get_running_loop().create_future()
        case Fail(category, http_status, retry_after):
            raise ProviderFailure(
                category, "the script says so", http_status=http_status, retry_after=retry_after
            )


_Fault = Literal["refuse", "rate_limited", "server_error", "hang", "die", "stall", "garbage"]
_Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]


class _Parameters(BaseModel):
    """What the module's docstring promises."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    text: Annotated[str, Field(min_length=1)] = "This is a scripted answer."
    repeat: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    delay: _Seconds = 0.0
    interval: _Seconds = 0.0
    fault: _Fault | None = None
    at: Annotated[int, Field(ge=0)] = 0
    faults: Annotated[int, Field(ge=1, le=1000)] | None = None
    retry_after: _Seconds | None = None

    def script(self, *, fault: _Fault | None) -> Script:
        words = words_of(self.text) * self.repeat
        whole = Say("".join(words), self.interval)
        some = Say("".join(words[: self.at]), self.interval)
        usage = Report(Usage(None, len(words)))
        wait = Wait(self.delay)
        scripts: Mapping[_Fault | None, Script] = {
            None: (wait, whole, usage, End()),
            "refuse": (Fail(Category.CONNECT),),
            "rate_limited": (Fail(Category.RATE_LIMITED, 429, self.retry_after),),
            "server_error": (Fail(Category.SERVER_ERROR, 500),),
            "hang": (Hang(),),
            "die": (wait, some, Fail(Category.TRUNCATED)),
            "stall": (wait, some, Hang()),
            "garbage": (wait, some, Fail(Category.MALFORMED)),
        }
        return scripts[fault]
