"""One exception tree. Each class has a stable wire `code`, says whose fault it is and whether to try again.

    DuologueError
    ├── ConfigurationError            the file or an environment variable is wrong; nothing was started
    ├── BadFrame                      bytes that are no frame
    ├── BadRequest                    a frame or body of the wrong shape
    ├── NotAuthenticated, Forbidden   who are you; not you
    ├── NotFound, Conflict            no such thing (or not yours); another thing under that name
    ├── Busy                          an answer is streaming and the policy is to reject
    ├── MessageTooLarge, FrameTooLarge
    ├── RateLimited, TooMany          too fast; too many at once
    ├── FeatureNotConfigured, ModelMisconfigured
    ├── StoreError
    │   ├── StoreUnavailable          no answer from the store: try again
    │   ├── LogConflict               the log is not where the writer thought
    │   ├── RecordCorrupt             bytes that fail their checksum, or of a version we do not know
    │   └── Moved                     fenced: somebody else owns the dialogue now
    ├── Draining, NotSaved, Interrupted, Quarantined
    ├── ProviderFailed                the model's side failed; `category` says how
    ├── CallTimeout                   no reply within the deadline
    └── ActorError                    the kernel's: see runtime/

Wire codes are part of the contract (docs/protocol.md): a class may be renamed, its code may not.
"""

from typing import ClassVar, Literal

__all__ = [
    "DuologueError",
    "ConfigurationError",
    "BadFrame",
    "BadRequest",
    "NotAuthenticated",
    "Forbidden",
    "NotFound",
    "Conflict",
    "Busy",
    "MessageTooLarge",
    "FrameTooLarge",
    "RateLimited",
    "TooMany",
    "FeatureNotConfigured",
    "ModelMisconfigured",
    "StoreError",
    "StoreUnavailable",
    "LogConflict",
    "RecordCorrupt",
    "Moved",
    "Draining",
    "NotSaved",
    "Interrupted",
    "Quarantined",
    "ProviderFailed",
    "CallTimeout",
    "ActorError",
]


class DuologueError(Exception):
    """Root of every error that Duologue raises on purpose.

    The message is written for the person who can do something about it and never holds a key, a prompt
    or a message's text, so it may be logged and sent to the client as it is.
    """

    code: ClassVar[str] = "internal"
    """Stable name on the wire."""
    retryable: ClassVar[bool] = False
    """Whether the same request may succeed later, unchanged."""
    status: ClassVar[int] = 500
    """HTTP status that carries this error."""


class ConfigurationError(DuologueError):
    """The configuration is wrong: the message names the key, its table and what to write instead."""

    code = "configuration"


class BadFrame(DuologueError):
    """Bytes that could not be parsed in the connection's format. The connection stays open."""

    code = "bad_frame"
    status = 400


class BadRequest(DuologueError):
    """A wrong type, field, operation or an unencodable character. Nothing was done."""

    code = "bad_request"
    status = 400


class NotAuthenticated(DuologueError):
    """No token, or one that is not ours."""

    code = "not_authenticated"
    status = 401


class Forbidden(DuologueError):
    """Known, but not allowed: a foreign `Origin` or `Host`."""

    code = "forbidden"
    status = 403


class NotFound(DuologueError):
    """Not there, or not yours: the two look the same."""

    code = "not_found"
    status = 404


class Conflict(DuologueError):
    """The same name was used before with another content."""

    code = "conflict"
    status = 409


class Busy(DuologueError):
    """An answer is streaming and the dialogue's policy is to reject; send again when it has ended."""

    code = "busy"
    status = 409
    retryable = True


class MessageTooLarge(DuologueError):
    """A message's content is over the limit in UTF-8 bytes."""

    code = "message_too_large"
    status = 413


class FrameTooLarge(DuologueError):
    """A frame or body is over the limit in bytes."""

    code = "frame_too_large"
    status = 413


class RateLimited(DuologueError):
    """Too many requests in too short a time."""

    code = "rate_limited"
    status = 429
    retryable = True


class TooMany(DuologueError):
    """A bound on how many there may be at once was reached."""

    code = "too_many"
    status = 429
    retryable = True


class FeatureNotConfigured(DuologueError):
    """A feature resolves to no service; the message names the feature, the section or account, and the table."""

    code = "feature_not_configured"
    status = 422


class ModelMisconfigured(DuologueError):
    """A registered model can't be called as it is configured, such as for want of its key's variable."""

    code = "model_misconfigured"
    status = 422


class StoreError(DuologueError):
    """Something about the durable state."""

    code = "store_unavailable"
    status = 503


class StoreUnavailable(StoreError):
    """The store did not answer in time, or answered that it can't serve now.

    Args:
        message: What happened, with no address or credential in it.
        applied: `"no"` when the request certainly left no trace; `"unknown"` when it was sent and its reply
            was lost, so that a write may or may not have happened. Repeating a `Write` is safe in both cases.
    """

    retryable = True

    def __init__(self, message: str, *, applied: Literal["no", "unknown"] = "unknown") -> None:
        super().__init__(message)
        self.applied: Literal["no", "unknown"] = applied


class LogConflict(StoreError):
    """The writer owns the dialogue but its `expected_log_index` is not the log's. Nothing was written.

    Args:
        message: What happened.
        actual: The log's real index.
    """

    code = "conflict"
    status = 409

    def __init__(self, message: str, *, actual: int) -> None:
        super().__init__(message)
        self.actual = actual


class RecordCorrupt(StoreError):
    """A stored record fails its checksum, is cut short, or is of a version that this program does not know."""

    code = "internal"
    status = 500


class Moved(StoreError):
    """The writer no longer owns the dialogue: `owner_term` and nonce are somebody else's. Nothing was written."""

    code = "moved"
    retryable = True


class Draining(DuologueError):
    """This server is going away and takes no new work; connect again."""

    code = "draining"
    status = 503
    retryable = True


class NotSaved(DuologueError):
    """The text ended but the store stayed ill, so the answer is not kept."""

    code = "not_saved"
    status = 503


class Interrupted(DuologueError):
    """A restart found the turn unfinished and the service's policy is to keep what there was."""

    code = "interrupted"
    status = 500


class Quarantined(DuologueError):
    """The dialogue crashed too often in too short a time and is held back; the others are untouched."""

    code = "quarantined"
    status = 503


class ProviderFailed(DuologueError):
    """No model of the service gave a complete answer.

    Args:
        message: What happened, with no key and no text of the dialogue in it.
        category: The last failure's category, a `providers.failures.Category` value.
    """

    code = "provider_failed"
    status = 502
    retryable = True

    def __init__(self, message: str, *, category: str) -> None:
        super().__init__(message)
        self.category = category


class CallTimeout(DuologueError):
    """No reply came within the deadline. The work is not cancelled; a late reply is dropped and counted."""

    code = "timeout"
    status = 504
    retryable = True


class ActorError(DuologueError):
    """Root of the kernel's own errors (`duologue.runtime`)."""
