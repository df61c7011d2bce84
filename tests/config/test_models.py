import datetime as dt

import pytest
from pydantic import ValidationError

from duologue.config import Price, RegisteredModel, Timeouts


def model(**keys):
    return RegisteredModel(provider="openai_compatible", **keys)


def test_the_documented_defaults():
    registered = RegisteredModel(provider="null")
    assert registered.timeouts == Timeouts(connect=5.0, first_token=20.0, idle=15.0, total=120.0)
    assert registered.price is None
    assert registered.max_concurrent is None
    assert registered.context_length is None
    assert registered.api_key_env is None
    assert dict(registered.parameters) == {}


@pytest.mark.parametrize("provider", ["openai_compatible", "claude", "http_service", "null", "scripted"])
def test_every_provider_of_the_contract_loads(provider):
    assert RegisteredModel(provider=provider).provider == provider


def test_another_provider_does_not():
    with pytest.raises(ValidationError):
        RegisteredModel(provider="telepathy")


def test_a_slash_at_the_end_of_a_url_is_dropped():
    assert model(url="https://models.example/base/").url == "https://models.example/base"


@pytest.mark.parametrize(
    "url", ["", "models.example", "ftp://models.example", "https://", "http://h:x", "http://[::1"]
)
def test_a_url_must_be_http_with_a_host(url):
    with pytest.raises(ValidationError, match="base URL"):
        model(url=url)


def test_a_url_with_credentials_is_refused_without_showing_them():
    with pytest.raises(ValidationError, match="api_key_env") as caught:
        model(url="https://user:hunter2@models.example")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["https://models.example/?key=1", "https://models.example/#top"])
def test_a_url_ends_with_its_path(url):
    with pytest.raises(ValidationError, match="path"):
        model(url=url)


@pytest.mark.parametrize("pasted", ["sk-proj-hunter2", "1KEY", "A B", ""])
def test_a_key_in_the_place_of_its_variables_name_is_refused_without_showing_it(pasted):
    with pytest.raises(ValidationError) as caught:
        model(api_key_env=pasted)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("key", ["context_length", "max_concurrent"])
@pytest.mark.parametrize("wrong", [0, -1, True, 1.5, "8"])
def test_counts_are_whole_numbers_from_one(key, wrong):
    with pytest.raises(ValidationError):
        model(**{key: wrong})


def test_parameters_are_kept_as_they_are():
    parameters = {"temperature": 0.7, "stop": ["a"], "nested": {"deep": None}}
    assert dict(model(parameters=parameters).parameters) == parameters


@pytest.mark.parametrize("value", [dt.date(2026, 1, 1), float("inf"), float("nan")])
def test_parameters_hold_only_what_json_can_say(value):
    with pytest.raises(ValidationError, match="JSON"):
        model(parameters={"odd": value})


def test_a_price_is_per_million_tokens_in_a_named_currency():
    assert Price(input=0.4, output=1.6).currency == "USD"
    with pytest.raises(ValidationError):
        Price(input=-1, output=0)
    with pytest.raises(ValidationError):
        Price(input=1, output=1, currency="dollars")
