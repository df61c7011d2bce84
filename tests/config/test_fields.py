import pytest
from pydantic import ValidationError

from duologue.config import LimitSettings, Settings, StoreSettings, Timeouts
from duologue.config.fields import FrozenMapping, Value


class Sample(Value):
    table: FrozenMapping[str, int]


def test_a_value_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        LimitSettings().idle_after = 1.0


def test_a_table_of_the_users_names_cannot_be_changed_either():
    sample = Sample(table={"a": 1})
    with pytest.raises(TypeError):
        sample.table["b"] = 2


def test_a_frozen_table_does_not_follow_the_dictionary_it_was_made_from():
    source = {"a": 1}
    sample = Sample(table=source)
    source["a"] = 2
    assert sample.table["a"] == 1


def test_values_with_the_same_content_are_equal():
    assert Sample(table={"a": 1}) == Sample(table={"a": 1})
    assert Sample(table={"a": 1}) != Sample(table={"a": 2})


def test_settings_survive_being_written_and_read_as_json():
    settings = Settings()
    assert Settings.model_validate_json(settings.model_dump_json()) == settings


def test_a_whole_number_is_a_duration():
    assert Timeouts(connect=3).connect == 3.0


@pytest.mark.parametrize("wrong", [0, -1, True, "1", float("inf"), float("nan"), 86_401])
def test_a_duration_is_a_finite_number_of_seconds_above_zero_and_at_most_a_day(wrong):
    with pytest.raises(ValidationError):
        StoreSettings(timeout=wrong)


@pytest.mark.parametrize("wrong", [1023, True, 2048.5, "4096", (1 << 30) + 1])
def test_a_size_is_a_whole_number_of_bytes_within_its_bounds(wrong):
    with pytest.raises(ValidationError):
        LimitSettings(message_bytes_max=wrong)


def test_an_error_does_not_repeat_what_was_given():
    with pytest.raises(ValidationError) as caught:
        LimitSettings(idle_after="hunter2-in-the-wrong-place")
    assert "hunter2" not in str(caught.value)
