"""A real model on this machine, made ready by `make test-local-model`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from duologue.local_model import LocalModelOptions, LocalModelServer

GGUF = Path(__file__).parents[2] / ".local-model" / "gemma-3-270m-q4_k_m.gguf"


@pytest.fixture
def options() -> LocalModelOptions:
    if not GGUF.exists():
        pytest.fail("the model is not there: run `make test-local-model`")
    # One thread: llama.cpp's wait for each other by spinning, which on busy cores costs more than they bring.
    return LocalModelOptions(gguf=GGUF, port=0, context=2048, threads=1)


@pytest.fixture
async def model(options: LocalModelOptions) -> AsyncIterator[LocalModelServer]:
    async with LocalModelServer(options) as server:
        yield server
