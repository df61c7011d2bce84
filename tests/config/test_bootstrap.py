import pytest

from duologue.config import InvalidSettings, load_settings

OPENAI = {"OPENAI_API_KEY": "hunter2", "OPENAI_MODEL": "some-model"}
ANTHROPIC = {"ANTHROPIC_API_KEY": "hunter2", "ANTHROPIC_MODEL": "another-model"}
AI_CHAT = {"AI_CHAT_URL": "https://chat.example/v1", "AI_CHAT_API_KEY": "hunter2"}


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def tiers(environ):
    settings = load_settings(environ=environ)
    return dict(settings.services[settings.resolve("student_dialogue").service].tiers())


def test_with_no_key_the_null_provider_answers_both_built_in_features():
    settings = load_settings(environ={})
    for feature in ("student_dialogue", "instructor_dashboard"):
        service = settings.services[settings.resolve(feature).service]
        assert [settings.models[model].provider for _, model in service.tiers()] == ["null"]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        (OPENAI, {"primary": "openai"}),
        (ANTHROPIC, {"primary": "anthropic"}),
        (AI_CHAT, {"primary": "ai_chat"}),
        (OPENAI | ANTHROPIC, {"primary": "openai", "backup": "anthropic"}),
        (AI_CHAT | OPENAI, {"primary": "openai", "backup": "ai_chat"}),
        (AI_CHAT | ANTHROPIC, {"primary": "anthropic", "backup": "ai_chat"}),
        (AI_CHAT | ANTHROPIC | OPENAI, {"primary": "openai", "backup": "anthropic"}),
    ],
)
def test_the_first_vendor_is_the_primary_and_the_next_the_backup(environ, expected):
    assert tiers(environ) == expected


def test_a_registered_vendor_has_its_model_address_and_the_name_of_its_keys_variable():
    models = load_settings(environ=OPENAI | ANTHROPIC | AI_CHAT).models
    shown = {name: (m.provider, m.model, m.url, m.api_key_env) for name, m in models.items()}
    assert shown == {
        "openai": ("openai_compatible", "some-model", "https://api.openai.com", "OPENAI_API_KEY"),
        "anthropic": ("claude", "another-model", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
        "ai_chat": ("http_service", None, "https://chat.example/v1", "AI_CHAT_API_KEY"),
    }


def test_no_key_is_taken_out_of_the_environment():
    settings = load_settings(environ=OPENAI | ANTHROPIC | AI_CHAT)
    assert "hunter2" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"OPENAI_API_KEY": "hunter2"}, "OPENAI_MODEL"),
        ({"ANTHROPIC_API_KEY": "hunter2"}, "ANTHROPIC_MODEL"),
        ({"AI_CHAT_API_KEY": "hunter2"}, "AI_CHAT_URL"),
        ({"AI_CHAT_URL": "https://chat.example"}, "AI_CHAT_API_KEY"),
        ({"OPENAI_API_KEY": "hunter2", "OPENAI_MODEL": ""}, "OPENAI_MODEL"),
    ],
)
def test_half_a_pair_is_an_error_that_says_which_variable_is_missing(environ, missing):
    with pytest.raises(InvalidSettings) as caught:
        load_settings(environ=environ)
    assert f"{missing}: is required because" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_missing_half_is_listed():
    with pytest.raises(InvalidSettings) as caught:
        load_settings(environ={"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k"})
    assert [problem.path for problem in caught.value.problems] == [("OPENAI_MODEL",), ("ANTHROPIC_MODEL",)]


def test_a_models_name_alone_says_nothing():
    assert tiers({"OPENAI_MODEL": "some-model", "ANTHROPIC_MODEL": "another"}) == {"primary": "null"}


def test_empty_variables_count_as_not_set():
    assert tiers(dict.fromkeys([*OPENAI, *ANTHROPIC, *AI_CHAT], "")) == {"primary": "null"}


def test_a_file_that_names_models_is_not_added_to(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[models.mine]\nprovider = "null"\n')
    settings = load_settings(path, environ={"OPENAI_API_KEY": "k"})
    assert (list(settings.models), dict(settings.services), dict(settings.features)) == (["mine"], {}, {})


def test_a_file_that_names_no_model_still_gets_them(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('[server]\nport = 9000\n[features.student_dialogue]\nsystem_prompt = "Be kind."\n')
    settings = load_settings(path, environ=OPENAI)
    resolved = settings.resolve("student_dialogue")
    assert (settings.server.port, resolved.service, resolved.system_prompt) == (9000, "default", "Be kind.")
