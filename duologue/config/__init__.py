"""Configuration: values only. Read once with `load_settings`, never changed after."""

from duologue.config.description import Description, FeatureRow, describe
from duologue.config.features import BUILT_IN_FEATURES, FeatureConfig, ResolvedFeature
from duologue.config.loading import load_settings
from duologue.config.models import Price, RegisteredModel, Timeouts
from duologue.config.problems import InvalidSettings, Problem
from duologue.config.services import ServiceConfig
from duologue.config.settings import AuthSettings, LimitSettings, ServerSettings, Settings, StoreSettings

__all__ = [
    # the whole, and how to get it
    "Settings",
    "load_settings",
    # its tables
    "ServerSettings",
    "AuthSettings",
    "StoreSettings",
    "LimitSettings",
    "RegisteredModel",
    "Timeouts",
    "Price",
    "ServiceConfig",
    "FeatureConfig",
    # what comes out
    "ResolvedFeature",
    "BUILT_IN_FEATURES",
    # what it means, and what is wrong with it
    "describe",
    "Description",
    "FeatureRow",
    "InvalidSettings",
    "Problem",
]
