"""A feature: what a dialogue is opened for, and which service answers there."""

from dataclasses import dataclass
from typing import Literal

from duologue.config.fields import Name, Text, Value

__all__ = ["FeatureConfig", "ResolvedFeature", "BusyPolicy", "BUILT_IN_FEATURES"]

BUILT_IN_FEATURES = ("student_dialogue", "instructor_dashboard")
"""Known without being named in the file. Known is not configured: each still needs a service."""

BusyPolicy = Literal["reject", "queue", "interrupt", "merge"]
"""What to do with a message that comes while an answer streams."""


class FeatureConfig(Value):
    """A feature's default, or what a section or an account changes about it. What is `None` is inherited."""

    service: Name | None = None
    """A key of `[services]`."""
    system_prompt: Text | None = None
    on_busy: BusyPolicy | None = None


@dataclass(frozen=True, slots=True)
class ResolvedFeature:
    """What holds for one dialogue, after its section, its account and the feature's default were asked."""

    feature: str
    service: str
    """A key of `Settings.services`; always there."""
    system_prompt: str | None
    """`None`: no system message."""
    on_busy: BusyPolicy
