"""One write, seen through: the thin shell that waits for the store on behalf of a dialogue's actor.

The store's own write is fenced and safe to repeat, so all that is left to decide here is what to do when
no answer came: a write that nobody has been promised is settled (it happened, or it never will), a write
that must be is repeated until it is confirmed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from duologue.errors import Moved, StoreUnavailable
from duologue.store.port import Head, Owner, Store, Write

__all__ = ["Applied", "Withdrawn", "Troubled", "commit", "commit_or_settle"]

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0


@dataclass(frozen=True, slots=True)
class Applied:
    """The write is in the log, by this owner from now on."""

    write: Write
    owner: Owner


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The write is not in the log and never will be."""

    write: Write
    owner: Owner
    error: StoreUnavailable


@dataclass(frozen=True, slots=True)
class Troubled:
    """The store did not answer; the write goes on being tried or settled."""

    write: Write
    error: StoreUnavailable


async def commit(store: Store, write: Write, *, tell: Callable[[Troubled], None]) -> Applied:
    """Repeat a write until it is confirmed. `tell` hears of the first trouble.

    Raises:
        Moved, LogConflict: The dialogue is somebody else's now.
    """
    pause, told = _FIRST_PAUSE, False
    while True:
        try:
            await store.append(write)
        except StoreUnavailable as error:
            if not told:
                tell(Troubled(write, error))
                told = True
        else:
            return Applied(write, write.owner)
        await asyncio.sleep(pause)
        pause = min(_LONGEST_PAUSE, pause * 2)


async def commit_or_settle(
    store: Store, write: Write, *, new_nonce: Callable[[], str], tell: Callable[[Troubled], None]
) -> Applied | Withdrawn:
    """Try a write once. When its reply is lost, find out for certain whether it happened.

    Reading the log would not be certain: the lost request may still lie in a socket's buffer and be carried
    out later. So ownership is taken anew, which fences the old request out for ever, and the head as it
    then is tells.

    Raises:
        Moved, LogConflict, Conflict: Refused by the store; nothing was written.
    """
    try:
        await store.append(write)
    except StoreUnavailable as error:
        if error.applied == "no":
            return Withdrawn(write, write.owner, error)
        tell(Troubled(write, error))
        return await _settle(store, write, error, new_nonce)
    return Applied(write, write.owner)


async def _settle(
    store: Store, write: Write, error: StoreUnavailable, new_nonce: Callable[[], str]
) -> Applied | Withdrawn:
    # The same nonce each time: a claim whose reply was lost is then recognised as ours.
    nonce = new_nonce()
    head = await _patiently(lambda: store.claim(write.dialogue, nonce))
    if head is None:
        raise Moved("The dialogue was deleted.")
    if head.write_id == write.write_id:
        return Applied(write, head.owner)
    if head.log_index != write.expected_log_index:
        raise Moved("Another owner wrote to the dialogue.")
    return Withdrawn(write, head.owner, error)


async def _patiently(attempt: Callable[[], Awaitable[Head | None]]) -> Head | None:
    pause = _FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except StoreUnavailable:
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * 2)
