"""Close codes of a WebSocket, as a table: number, the reason in the close frame.

4000 to 4499: connect again and resume. 4500 to 4999: do not.
"""

__all__ = [
    "FORBIDDEN",
    "GOING_AWAY",
    "INTERNAL",
    "DRAINING",
    "MOVED",
    "NOT_AUTHENTICATED",
    "NO_PONG",
    "REPEATED_BAD_REQUESTS",
    "TOO_BIG",
    "TOO_MANY",
    "TOO_SLOW",
]

GOING_AWAY = (1001, "going away")
TOO_BIG = (1009, "frame too large")
INTERNAL = (1011, "internal error")
DRAINING = (4001, "draining")
TOO_SLOW = (4008, "too slow")
NO_PONG = (4012, "no pong")
MOVED = (4013, "moved")
REPEATED_BAD_REQUESTS = (4500, "repeated bad requests")
NOT_AUTHENTICATED = (4501, "not authenticated")
FORBIDDEN = (4503, "forbidden")
TOO_MANY = (4508, "too many connections")
