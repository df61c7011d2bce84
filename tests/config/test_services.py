import pytest
from pydantic import ValidationError

from duologue.config import ServiceConfig


def test_the_order_of_failover_is_primary_secondary_backup():
    service = ServiceConfig(backup="c", secondary="b", primary="a")
    assert service.tiers() == (("primary", "a"), ("secondary", "b"), ("backup", "c"))


def test_tiers_that_are_not_named_are_not_there():
    assert ServiceConfig(primary="a", backup="c").tiers() == (("primary", "a"), ("backup", "c"))
    assert ServiceConfig(primary="a").tiers() == (("primary", "a"),)


def test_the_documented_defaults():
    service = ServiceConfig(primary="a")
    assert (service.on_stream_failure, service.on_interrupted, service.summary_service) == (
        "restart",
        "retry",
        None,
    )


@pytest.mark.parametrize("keys", [{}, {"primary": ""}, {"primary": "a", "on_stream_failure": "panic"}])
def test_a_service_has_a_primary_and_known_policies(keys):
    with pytest.raises(ValidationError):
        ServiceConfig(**keys)
