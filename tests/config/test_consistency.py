import pytest

from duologue.config import FeatureConfig, RegisteredModel, ServiceConfig
from duologue.config.consistency import Tables, contradictions, is_loopback


def test_no_tables_contradict_nothing():
    assert contradictions(Tables()) == []


def test_a_table_that_could_not_be_read_is_still_a_name_to_point_at():
    tables = Tables(
        model_names=frozenset({"broken"}),
        service_names=frozenset({"s", "unreadable"}),
        services={"s": ServiceConfig(primary="broken")},
        features={("features", "student_dialogue"): FeatureConfig(service="unreadable")},
    )
    assert contradictions(tables) == []


def test_an_unreadable_host_is_not_judged():
    assert contradictions(Tables(host=None, has_token=False)) == []


def test_a_provider_that_needs_nothing_may_have_anything():
    models = {"m": RegisteredModel(provider="null"), "n": RegisteredModel(provider="scripted", model="x")}
    assert contradictions(Tables(models=models)) == []


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("", False),
        ("example.org", False),
    ],
)
def test_loopback_is_what_only_this_machine_can_reach(host, expected):
    assert is_loopback(host) is expected
