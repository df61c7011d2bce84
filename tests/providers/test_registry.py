"""From a registered model to its adapter: lazily, and with a key that is read when a call is made."""

from typing import Any

import pytest

from duologue.config.models import RegisteredModel
from duologue.providers.failures import Category, ProviderFailure
from duologue.providers.null import NullProvider
from duologue.providers.openai_compatible import OpenAICompatible
from duologue.providers.registry import Providers
from duologue.providers.scripted import ScriptedProvider
from tests.providers.builders import REQUEST, collect, model
from tests.system.fake_upstream import FakeUpstream


async def test_each_provider_name_has_its_adapter_and_is_built_once() -> None:
    providers = Providers(
        {
            "o": model("http://127.0.0.1:9"),
            "n": RegisteredModel(provider="null"),
            "s": RegisteredModel(provider="scripted", parameters={"text": "x"}),
        }
    )
    kinds = [type(providers.provider(name)) for name in ("o", "n", "s")]
    assert kinds == [OpenAICompatible, NullProvider, ScriptedProvider]
    assert providers.provider("s") is providers.provider("s")
    await providers.close()
    await providers.close()


@pytest.mark.parametrize(
    "fields", [{"provider": "claude", "model": "m"}, {"provider": "http_service", "url": "http://x"}]
)
async def test_a_protocol_that_has_no_adapter_yet_is_told_by_name(fields: Any) -> None:
    providers = Providers({"later": RegisteredModel(**fields)})
    with pytest.raises(ProviderFailure, match=fields["provider"]) as caught:
        providers.provider("later")
    assert caught.value.category is Category.MODEL_MISCONFIGURED
    assert "later" in str(caught.value)


async def test_the_key_is_read_at_each_call(upstream: FakeUpstream) -> None:
    environ = {"SOME_KEY": "sk-old\n"}
    providers = Providers({"m": model(upstream.url, api_key_env="SOME_KEY")}, environ=environ)
    await collect(providers.provider("m").stream(REQUEST))
    environ["SOME_KEY"] = "sk-new"
    await collect(providers.provider("m").stream(REQUEST))
    assert [seen.headers["authorization"] for seen in upstream.requests] == ["Bearer sk-old", "Bearer sk-new"]
    await providers.close()


@pytest.mark.parametrize("value", [None, "", "  ", "sk-caf\u00e9", "sk\r\nx-evil: 1", "sk-\x00"])
async def test_a_key_that_is_missing_or_no_key_fails_with_its_variables_name(
    upstream: FakeUpstream, value: str | None
) -> None:
    environ = {} if value is None else {"SOME_KEY": value}
    providers = Providers({"m": model(upstream.url, api_key_env="SOME_KEY")}, environ=environ)
    _, failure = await collect(providers.provider("m").stream(REQUEST))
    assert isinstance(failure, ProviderFailure)
    assert failure.category is Category.MODEL_MISCONFIGURED
    assert "SOME_KEY" in str(failure)
    assert "sk" not in str(failure)
    assert upstream.connection_count == 0
    await providers.close()


async def test_wrong_parameters_of_a_scripted_model_fail_when_it_is_called() -> None:
    providers = Providers({"s": RegisteredModel(provider="scripted", parameters={"txt": "x"})})
    with pytest.raises(ProviderFailure, match="txt"):
        providers.provider("s")
    await providers.close()
