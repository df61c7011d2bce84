"""HTTP and WebSocket: frames in, calls out, events back. No rules of dialogues live here."""
