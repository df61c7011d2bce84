"""One dialogue, one actor. What callers hold is `handle.Dialogue`; the actor is `server.DialogueServer`."""

from duologue.dialogue.attachments import Attachment, Attachments, Viewer
from duologue.dialogue.handle import Dialogue

__all__ = ["Dialogue", "Attachment", "Attachments", "Viewer"]
