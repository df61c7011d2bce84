"""What a dialogue answers, as plain values: the same on the socket and over HTTP."""

from collections.abc import Mapping
from typing import Any

from duologue.dialogue.requests import Accepted, Attached, Opened

__all__ = ["accepted_to_wire", "attached_to_wire", "cancelled_to_wire", "opened_to_wire"]


def opened_to_wire(opened: Opened) -> Mapping[str, Any]:
    """Of `open`."""
    return {
        "dialogue": opened.dialogue,
        "epoch": opened.epoch,
        "seq": opened.seq,
        "created": opened.created,
    }


def attached_to_wire(attached: Attached) -> Mapping[str, Any]:
    """Of `attach`."""
    return {"resumed": attached.resumed, "epoch": attached.epoch, "seq": attached.seq}


def accepted_to_wire(accepted: Accepted) -> Mapping[str, Any]:
    """Of `send`, `regenerate` and `edit`."""
    return {
        "message_id": accepted.message_id,
        "turn_id": accepted.turn_id,
        "epoch": accepted.epoch,
        "seq": accepted.seq,
    }


def cancelled_to_wire(cancelled: bool) -> Mapping[str, Any]:  # noqa: FBT001 - the answer itself
    """Of `cancel`."""
    return {"cancelled": cancelled}
