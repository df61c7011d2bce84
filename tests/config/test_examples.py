"""The configuration files that we show to others are right."""

from pathlib import Path

import pytest

from duologue.config import describe, load_settings

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_loads_and_every_feature_of_it_has_a_service(path):
    settings = load_settings(path, environ={})
    assert [row for row in describe(settings, environ={}).rows if row.service is None] == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_warns_of_nothing_but_keys_that_are_not_set_and_made_up_answers(path):
    settings = load_settings(path, environ={})
    keys = {model.api_key_env: "set" for model in settings.models.values() if model.api_key_env is not None}
    warnings = describe(settings, environ=keys).warnings
    assert [warning for warning in warnings if "made up" not in warning] == []
