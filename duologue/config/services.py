"""A service: up to three registered models behind one name, and what happens when one of them fails."""

from typing import Literal

from duologue.config.fields import Name, Value

__all__ = ["ServiceConfig", "TierName"]

TierName = Literal["primary", "secondary", "backup"]
"""A model's place in its service; the order of failover."""


class ServiceConfig(Value):
    """Who answers, who steps in, and how. Model names are keys of `[models]`."""

    primary: Name
    secondary: Name | None = None
    """`None`: there is no second choice."""
    backup: Name | None = None
    """`None`: when the others failed, the turn fails."""
    on_stream_failure: Literal["restart", "continue", "terminate"] = "restart"
    """After a failure in mid-answer the next model starts anew or goes on from there, or the turn fails."""
    on_interrupted: Literal["retry", "keep"] = "retry"
    """What becomes of a turn that a restart of the server cut: asked again, or failed with its text kept."""
    summary_service: Name | None = None
    """The service that writes the rolling summary. `None`: this one does."""

    def tiers(self) -> tuple[tuple[TierName, str], ...]:
        """The models that are named, in the order of failover."""
        named: tuple[tuple[TierName, str | None], ...] = (
            ("primary", self.primary),
            ("secondary", self.secondary),
            ("backup", self.backup),
        )
        return tuple((tier, model) for tier, model in named if model is not None)
