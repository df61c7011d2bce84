"""`duologue chat`: talk to a dialogue from a terminal, or from a pipe."""

from duologue.chat.program import ChatOptions, run_chat

__all__ = ["ChatOptions", "run_chat"]
