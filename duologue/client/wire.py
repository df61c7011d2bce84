"""Frames to bytes and back, in both formats, and the addresses of a server."""

import json
from typing import Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit

import msgpack

from duologue.errors import BadFrame, BadRequest, FrameTooLarge

__all__ = ["FRAME_BYTES_MAX", "SUBPROTOCOLS", "Format", "Frame", "encode", "decode", "socket_url", "http_url"]

Format = Literal["json", "msgpack"]
"""Both mean exactly the same; msgpack is a little smaller and needs no escapes."""

Frame = dict[str, Any]

SUBPROTOCOLS: Final[dict[Format, str]] = {"json": "duologue.v1.json", "msgpack": "duologue.v1.msgpack"}

FRAME_BYTES_MAX: Final = 65_536
"""Longest command that a server takes. Checked here too: a long one is an error and not a lost socket."""

_SOCKET_PATH: Final = "/v1/socket"


def encode(frame: Frame, wire_format: Format) -> bytes:
    """A command as bytes.

    Raises:
        BadRequest: A string holds a lone surrogate, or a value has no place in the format.
        FrameTooLarge: Over `FRAME_BYTES_MAX`.
    """
    try:
        if wire_format == "msgpack":
            data: bytes = msgpack.packb(frame)
        else:
            data = json.dumps(frame, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, OverflowError) as error:  # UnicodeEncodeError is a ValueError
        raise BadRequest("a value of the command can't be written on the wire") from error
    if len(data) > FRAME_BYTES_MAX:
        raise FrameTooLarge(f"the command has {len(data)} bytes; the limit is {FRAME_BYTES_MAX}")
    return data


def decode(data: str | bytes, wire_format: Format) -> Frame:
    """A frame of the server as a mapping.

    Raises:
        BadFrame: The bytes are not a map of the format.
    """
    try:
        frame = msgpack.unpackb(data) if wire_format == "msgpack" else json.loads(data)
    except (TypeError, ValueError, RecursionError, msgpack.UnpackException) as error:
        raise BadFrame(f"the server sent something that is not {wire_format}") from error
    if not isinstance(frame, dict):
        raise BadFrame("the server sent a frame that is not a map")
    return frame


def socket_url(url: str) -> str:
    """The socket's address, from itself or from the server's HTTP address (which may have a path).

    Raises:
        BadRequest: Neither `ws`, `wss`, `http` nor `https`, or no host.
    """
    return _address(url, {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}, _SOCKET_PATH)


def http_url(url: str) -> str:
    """The server's HTTP address without a trailing slash, from itself or from its socket's address."""
    return _address(url, {"http": "http", "https": "https", "ws": "http", "wss": "https"}, "")


def _address(url: str, schemes: dict[str, str], path: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise BadRequest(f"{url!r} is no address of a server; one looks like http://127.0.0.1:8400")
    prefix = parts.path.rstrip("/").removesuffix(_SOCKET_PATH)
    return urlunsplit((schemes[parts.scheme], parts.netloc, prefix + path, "", ""))
