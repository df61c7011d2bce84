from pathlib import Path

import pytest

from duologue.config import InvalidSettings, load_settings
from duologue.errors import ConfigurationError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "duologue.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def port(path=None, environ=None, overrides=None):
    return load_settings(path, environ=environ or {}, overrides=overrides).server.port


def test_with_nothing_at_all_the_defaults_hold():
    assert port() == 8400


def test_the_file_of_the_working_directory_is_read_if_it_is_there(folder):
    write(folder, "[server]\nport = 1001\n")
    assert port() == 1001


def test_the_variable_goes_before_the_working_directory_and_the_argument_before_both(folder):
    write(folder, "[server]\nport = 1001\n")
    named = write(folder, "[server]\nport = 1002\n", "named.toml")
    given = write(folder, "[server]\nport = 1003\n", "given.toml")
    assert port(environ={"DUOLOGUE_CONFIG": str(named)}) == 1002
    assert port(given, environ={"DUOLOGUE_CONFIG": str(named)}) == 1003


def test_files_are_not_mixed(folder):
    write(folder, '[server]\nhost = "::1"\n')
    given = write(folder, "[server]\nport = 1003\n", "given.toml")
    assert load_settings(given, environ={}).server.host == "127.0.0.1"


def test_the_environment_goes_over_the_file_and_flags_over_both(folder):
    path = write(folder, '[server]\nhost = "::1"\nport = 1001\n')
    environ = {"DUOLOGUE_SERVER__PORT": "1002"}
    assert port(path, environ) == 1002
    assert port(path, environ, {"server": {"port": 1003}}) == 1003
    assert load_settings(path, environ=environ, overrides={"server": {"port": 1003}}).server.host == "::1"


def test_a_flag_that_was_not_given_changes_nothing(folder):
    path = write(folder, "[server]\nport = 1001\n")
    assert port(path, overrides={"server": {"port": None, "host": None}}) == 1001


def test_the_environment_is_the_processs_own_unless_another_is_given(monkeypatch):
    monkeypatch.setenv("DUOLOGUE_SERVER__PORT", "1005")
    assert load_settings().server.port == 1005


def test_the_environment_may_define_a_whole_model_and_service():
    settings = load_settings(
        environ={
            "DUOLOGUE_MODELS__FAST__PROVIDER": "openai_compatible",
            "DUOLOGUE_MODELS__FAST__MODEL": "some-model",
            "DUOLOGUE_MODELS__FAST__URL": "http://127.0.0.1:9999",
            "DUOLOGUE_MODELS__FAST__TIMEOUTS__IDLE": "3",
            "DUOLOGUE_SERVICES__STANDARD__PRIMARY": "fast",
            "DUOLOGUE_FEATURES__STUDENT_DIALOGUE__SERVICE": "standard",
        }
    )
    assert settings.models["fast"].timeouts.idle == 3.0
    assert settings.resolve("student_dialogue").service == "standard"


def test_a_file_that_is_named_must_be_there(folder):
    with pytest.raises(ConfigurationError, match=r"missing\.toml: can't be read: No such file"):
        load_settings(folder / "missing.toml", environ={})
    with pytest.raises(ConfigurationError, match=r"gone\.toml"):
        load_settings(environ={"DUOLOGUE_CONFIG": "gone.toml"})


def test_a_folder_is_no_file(folder):
    with pytest.raises(ConfigurationError, match="can't be read"):
        load_settings(folder, environ={})


def test_broken_toml_names_its_line_and_nothing_of_its_text(folder):
    path = write(folder, '[auth]\ntoken = "hunter2"\nport == 1\n')
    with pytest.raises(ConfigurationError, match=r"is not TOML: .*line 3") as caught:
        load_settings(path, environ={})
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_file_that_is_not_utf8_is_refused(folder):
    path = folder / "latin.toml"
    path.write_bytes(b'[server]\nhost = "\xe4"\n')
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load_settings(path, environ={})


def test_the_error_names_the_file_and_where_each_value_came_from(folder):
    path = write(folder, "[server]\nport = 99999\n[store]\ntimeout = 1\n")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(
            path, environ={"DUOLOGUE_STORE__TIMEOUT": "soon"}, overrides={"limits": {"idle_after": -1}}
        )
    assert str(caught.value).splitlines() == [
        f"{path}: 3 problems",
        "  [server] port: must be less than or equal to 65535",
        "  [store] timeout (from DUOLOGUE_STORE__TIMEOUT): must be a valid number",
        "  [limits] idle_after (from the command line): must be greater than 0",
    ]


def test_the_contracts_own_example_loads(folder):
    path = write(
        folder,
        """
        [server]
        host = "127.0.0.1"
        port = 8400
        allowed_origins = []
        [auth]
        token = "a-token-of-some-length"
        [store]
        url = "redis://127.0.0.1:6379/0"
        data_dir = "./.duologue"
        timeout = 1.0
        checkpoint_interval = 0.5
        retention_days = 0
        [limits]
        message_bytes_max = 32768
        outbox_bytes_max = 1048576
        idle_after = 300.0
        [models.fast]
        provider = "openai_compatible"
        model = "small-model"
        url = "https://models.example"
        api_key_env = "MODELS_KEY"
        context_length = 128000
        max_concurrent = 95
        parameters = { temperature = 0.7, max_tokens = 2048 }
        [models.fast.timeouts]
        connect = 5.0
        first_token = 20.0
        idle = 15.0
        total = 120.0
        [models.fast.price]
        input = 0.40
        output = 1.60
        currency = "USD"
        [models.other]
        provider = "claude"
        model = "large-model"
        [models.steady]
        provider = "http_service"
        url = "https://steady.example"
        [services.standard]
        primary = "fast"
        secondary = "other"
        backup = "steady"
        on_stream_failure = "restart"
        on_interrupted = "retry"
        summary_service = "cheap"
        [services.cheap]
        primary = "steady"
        [services.chemistry]
        primary = "other"
        [services.acme-models]
        primary = "steady"
        [features.student_dialogue]
        service = "standard"
        system_prompt = "You are a patient tutor."
        on_busy = "reject"
        [sections.real-chem.student_dialogue]
        service = "chemistry"
        [accounts.acme.student_dialogue]
        service = "acme-models"
        """,
    )
    settings = load_settings(path, environ={})
    assert settings.models["fast"].price.output == 1.6
    assert settings.services["standard"].tiers() == (
        ("primary", "fast"),
        ("secondary", "other"),
        ("backup", "steady"),
    )
    assert settings.resolve("student_dialogue", section="real-chem", account="acme").service == "chemistry"
