"""Server-sent events, split on bytes.

Rules (WHATWG HTML, "Server-sent events"), each with its reason to be here and not in a library:
  * a line ends with LF, CR or CRLF and with nothing else: splitting on U+2028 or U+0085 tears valid JSON;
  * an empty line ends an event; several `data` lines of one event are joined with LF;
  * a line that starts with a colon is a comment; one space after the field's colon is not part of the value;
  * one byte order mark at the very start is skipped;
  * an event without data is no event;
  * (ours) bytes left at the end of the stream count as a last event, since servers forget the empty line;
  * (ours) an event of more than `EVENT_BYTES_MAX` bytes ends the reading: memory stays flat, come what may.

Only the data is given out: every wire that we speak says in its JSON what the event is.
"""

__all__ = ["SseSplitter", "EVENT_BYTES_MAX"]

EVENT_BYTES_MAX = 1 << 20
"""Most bytes of one event, comments and field names included; so of one line, too."""

_BOM = b"\xef\xbb\xbf"


class SseSplitter:
    """Cuts a stream of bytes into the data of its events, the same for every way the bytes are chunked.

    `overflowed` turns true when an event is too large; from then on nothing more comes out.
    """

    __slots__ = ("_after_cr", "_at_start", "_held", "_limit", "overflowed")

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._limit = event_bytes_max
        self._held = b""  # the start of an event that is not complete yet, its line ends already LF
        self._after_cr = False  # the last byte was CR: an LF that follows belongs to it
        self._at_start = True  # a byte order mark may still come
        self.overflowed = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Data of each event that `chunk` completes, in order; events without data are left out."""
        if not chunk or self.overflowed:
            return []
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_lf_only(chunk)
        held = self._held + chunk if self._held else chunk
        if self._at_start:
            if len(held) < 3 and _BOM.startswith(held):
                self._held = held
                return []
            self._at_start = False
            held = held.removeprefix(_BOM)
        if b"\n" not in chunk:  # spares a long line in small pieces from being searched again and again
            self._keep(held)
            return []
        blocks = held.split(b"\n\n")
        self._keep(blocks.pop())
        return self._data_of(blocks)

    def finish(self) -> list[bytes]:
        """What the end of the stream leaves: at most one event, perhaps cut in its middle."""
        if self.overflowed:
            return []
        rest, self._held = self._held.removesuffix(b"\n"), b""
        return self._data_of([rest])

    def _with_lf_only(self, chunk: bytes) -> bytes:
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _keep(self, rest: bytes) -> None:
        self._held = rest
        if len(rest) - rest.endswith(b"\n") > self._limit:  # that LF may turn out to be the event's end
            self.overflowed = True
            self._held = b""

    def _data_of(self, blocks: list[bytes]) -> list[bytes]:
        found = []
        for block in blocks:
            if len(block) > self._limit:
                self.overflowed = True
                self._held = b""
                break
            simple = block.startswith(b"data: ") and b"\n" not in block
            if data := block[6:] if simple else _joined_data(block):
                found.append(data)
        return found


def _joined_data(block: bytes) -> bytes:
    """The data of a block of any shape."""
    values = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            values.append(value.removeprefix(b" "))
    return b"\n".join(values)
