import pytest

from duologue.config import FeatureRow, Settings, describe, load_settings

TABLES = {
    "models": {
        "fast": {
            "provider": "openai_compatible",
            "model": "x",
            "url": "https://h",
            "api_key_env": "FAST_KEY",
        },
        "steady": {"provider": "openai_compatible", "model": "y", "url": "http://127.0.0.1:1"},
    },
    "services": {"standard": {"primary": "fast", "backup": "steady"}, "chemistry": {"primary": "steady"}},
    "features": {"student_dialogue": {"service": "standard", "system_prompt": "Be patient, hunter2."}},
    "sections": {"real-chem": {"student_dialogue": {"service": "chemistry", "on_busy": "queue"}}},
    "accounts": {"acme": {"student_dialogue": {"on_busy": "merge"}}},
}


def described(environ=None, **changed):
    return describe(Settings.model_validate(TABLES | changed), environ=environ or {"FAST_KEY": "hunter2"})


def test_each_feature_has_a_row_for_everyone_and_one_for_each_override():
    assert described().rows == (
        FeatureRow(
            "student_dialogue", "everyone", "standard", ("fast", "steady"), "reject", has_system_prompt=True
        ),
        FeatureRow(
            "student_dialogue",
            "account acme",
            "standard",
            ("fast", "steady"),
            "merge",
            has_system_prompt=True,
        ),
        FeatureRow(
            "student_dialogue", "section real-chem", "chemistry", ("steady",), "queue", has_system_prompt=True
        ),
        FeatureRow("instructor_dashboard", "everyone", None),
    )


def test_a_sound_configuration_has_no_warnings():
    assert described().warnings == ()


def test_the_lines_say_it_in_words_and_show_neither_prompt_nor_key():
    lines = described().lines()
    assert (
        lines[0]
        == "student_dialogue (everyone): standard = fast then steady; on busy reject; with a system prompt"
    )
    assert lines[-1] == "instructor_dashboard (everyone): no service; opening a dialogue with it is refused"
    assert "hunter2" not in "".join(lines)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"auth": {"token": "short"}}, "[auth] token: is shorter than 16 characters"),
        (
            {"models": TABLES["models"] | {"spare": {"provider": "scripted"}}},
            "[models.spare]: no service uses it",
        ),
        (
            {"models": TABLES["models"] | {"steady": {"provider": "null"}}},
            '[models.steady] provider: "null" is no language model',
        ),
        (
            {"models": TABLES["models"] | {"steady": {"provider": "claude", "model": "z"}}},
            '[models.steady] provider: "claude" has no adapter in this version',
        ),
        (
            {"services": TABLES["services"] | {"spare": {"primary": "fast"}}},
            '[services.spare]: no feature uses "spare"',
        ),
        (
            {
                "models": TABLES["models"]
                | {"fast": {"provider": "http_service", "url": "http://h.example", "api_key_env": "FAST_KEY"}}
            },
            "[models.fast] api_key_env: the key crosses the network readable",
        ),
    ],
)
def test_what_will_not_work_or_is_rarely_meant_is_a_warning(changed, sentence):
    assert any(warning.startswith(sentence) for warning in described(**changed).warnings)


def test_a_keys_variable_that_is_not_set_is_a_warning_with_its_name():
    (warning,) = described(environ={"FAST_KEY": "", "OTHER": "x"}).warnings
    assert (
        warning == "[models.fast] api_key_env: the variable FAST_KEY is not set here; calls fail until it is"
    )


def test_a_summary_service_counts_as_used():
    services = {"standard": {"primary": "fast", "summary_service": "cheap"}, "cheap": {"primary": "steady"}}
    sections = {"real-chem": {"student_dialogue": {"service": "standard"}}}
    assert described(services=services, sections=sections).warnings == ()


def test_a_start_with_nothing_says_that_answers_are_made_up(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (warning,) = describe(load_settings(environ={}), environ={}).warnings
    assert "made up" in warning
