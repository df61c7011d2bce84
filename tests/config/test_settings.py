import pytest
from pydantic import ValidationError

from duologue.config import InvalidSettings, Settings
from duologue.errors import ConfigurationError, FeatureNotConfigured


def settings(**tables):
    return Settings.model_validate(
        {
            "models": {"m": {"provider": "null"}, "n": {"provider": "null"}},
            "services": {
                "standard": {"primary": "m"},
                "chemistry": {"primary": "n"},
                "acme": {"primary": "m"},
            },
        }
        | tables
    )


PLAIN = {"student_dialogue": {"service": "standard", "system_prompt": "Be patient.", "on_busy": "queue"}}


# ── values ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_nothing_configured_is_valid_and_listens_on_loopback():
    bare = Settings()
    assert (bare.server.host, bare.server.port, bare.auth.token) == ("127.0.0.1", 8400, None)
    assert (bare.store.url, bare.store.timeout, bare.store.checkpoint_interval) == (None, 1.0, 0.5)
    assert (bare.limits.message_bytes_max, bare.limits.outbox_bytes_max) == (32_768, 1_048_576)
    assert (bare.limits.idle_after, bare.store.retention_days) == (300.0, 0)


def test_no_secret_is_in_the_representation():
    secretive = settings(
        auth={"token": "hunter2-token"}, store={"url": "redis://user:hunter2-store@127.0.0.1:6379/0"}
    )
    for text in (repr(secretive), str(secretive), secretive.model_dump_json()):
        assert "hunter2" not in text
    assert secretive.auth.token.get_secret_value() == "hunter2-token"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "LOCALHOST", "::1", "[::1]"])
def test_loopback_needs_no_token(host):
    Settings(server={"host": host})


def test_brackets_round_an_address_are_dropped():
    assert Settings(server={"host": "[::1]"}).server.host == "::1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "chat.example.org", "localhost.example.org"])
def test_an_address_that_others_reach_is_refused_without_a_token(host):
    with pytest.raises(
        ConfigurationError, match=r"\[server\] host: .*`token` in \[auth\] or DUOLOGUE_AUTH_TOKEN"
    ):
        Settings(server={"host": host})


def test_with_a_token_any_address_may_be_bound():
    Settings(server={"host": "0.0.0.0"}, auth={"token": "a-long-enough-token"})


@pytest.mark.parametrize("token", ["", " ", "two words", "tab\there", "ключ", "line\n"])
def test_a_token_is_something_that_a_header_can_carry(token):
    with pytest.raises(ValidationError):
        Settings(auth={"token": token})


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://h", "unix:///run/valkey.sock", "memory://"])
def test_a_store_has_one_of_the_known_schemes(url):
    assert Settings(store={"url": url}).store.url.get_secret_value() == url


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:6379", "http://h", "redis://h:port", "postgres://u:hunter2@h"]
)
def test_any_other_store_is_refused_without_showing_its_address(url):
    with pytest.raises(ValidationError, match="redis://") as caught:
        Settings(store={"url": url})
    assert "hunter2" not in str(caught.value)


def test_allowed_origins_are_kept_as_a_browser_sends_them():
    origins = ["https://chat.example.org", "http://127.0.0.1:3000"]
    assert Settings(server={"allowed_origins": origins}).server.allowed_origins == tuple(origins)


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "chat.example.org",
        "https://a.example/",
        "https://A.example",
        "https://*.example",
        "https://u@a",
        "https://a:x",
    ],
)
def test_what_no_browser_would_send_is_no_origin(origin):
    with pytest.raises(ValidationError, match="origin"):
        Settings(server={"allowed_origins": [origin]})


@pytest.mark.parametrize("port", [-1, 65_536, True, "8400", 1.5])
def test_a_port_is_a_whole_number_from_0_to_65535(port):
    with pytest.raises(ValidationError):
        Settings(server={"port": port})


# ── contradictions ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"services": {"s": {"primary": "x1"}}}, r'\[services.s\] primary: no model "x1" in \[models\]'),
        (
            {"services": {"s": {"primary": "m", "backup": "zz"}}},
            r'\[services.s\] backup: no model "zz" in \[models\]',
        ),
        (
            {"services": {"s": {"primary": "m", "secondary": "m"}}},
            r"\[services.s\] secondary: is the same model as primary",
        ),
        (
            {"services": {"s": {"primary": "m", "backup": "m"}}},
            r"\[services.s\] backup: is the same model as primary",
        ),
        (
            {"services": {"s": {"primary": "m", "secondary": "n", "backup": "n"}}},
            r"\[services.s\] backup: is the same model as secondary",
        ),
        (
            {"services": {"s": {"primary": "m", "summary_service": "q"}}},
            r'\[services.s\] summary_service: no service "q" in \[services\]',
        ),
        (
            {"features": {"student_dialogue": {"service": "standrad"}}},
            r'\[features.student_dialogue\] service: no service "standrad" in .*; did you mean "standard"\?',
        ),
        (
            {"sections": {"real.chem": {"student_dialogue": {"service": "q"}}}},
            r'\[sections."real.chem".student_dialogue\] service: no service "q"',
        ),
        (
            {"accounts": {"acme": {"student_dialogue": {"service": "q"}}}},
            r'\[accounts.acme.student_dialogue\] service: no service "q"',
        ),
        (
            {"sections": {"s1": {"student_dialog": {"service": "standard"}}}},
            r'\[sections.s1\] student_dialog: no such feature; did you mean "student_dialogue"\?',
        ),
        (
            {
                "models": {
                    "m": {"provider": "openai_compatible", "url": "http://h"},
                    "n": {"provider": "null"},
                }
            },
            r'\[models.m\] model: is required by the provider "openai_compatible"',
        ),
        (
            {"models": {"m": {"provider": "openai_compatible", "model": "x"}, "n": {"provider": "null"}}},
            r'\[models.m\] url: is required by the provider "openai_compatible"',
        ),
        (
            {"models": {"m": {"provider": "claude"}, "n": {"provider": "null"}}},
            r'\[models.m\] model: is required by the provider "claude"',
        ),
        (
            {"models": {"m": {"provider": "http_service"}, "n": {"provider": "null"}}},
            r'\[models.m\] url: is required by the provider "http_service"',
        ),
    ],
)
def test_a_contradiction_is_refused_and_names_its_table_and_key(tables, sentence):
    with pytest.raises(InvalidSettings, match=sentence) as caught:
        settings(**tables)
    assert len(caught.value.problems) == 1


def test_all_contradictions_are_listed_at_once():
    with pytest.raises(InvalidSettings) as caught:
        Settings.model_validate(
            {
                "server": {"host": "0.0.0.0"},
                "models": {"m": {"provider": "openai_compatible"}},
                "services": {"s": {"primary": "m", "secondary": "m", "backup": "x"}},
                "features": {"student_dialogue": {"service": "q"}},
            }
        )
    assert [problem.path for problem in caught.value.problems] == [
        ("server", "host"),
        ("models", "m", "model"),
        ("models", "m", "url"),
        ("services", "s", "secondary"),
        ("services", "s", "backup"),
        ("features", "student_dialogue", "service"),
    ]


def test_a_feature_of_ones_own_may_be_overridden_once_it_is_named():
    own = settings(features={"lab_notes": {}}, sections={"s1": {"lab_notes": {"service": "chemistry"}}})
    assert own.resolve("lab_notes", section="s1").service == "chemistry"


# ── resolution ──────────────────────────────────────────────────────────────────────────────────────────────

OVERRIDDEN = {
    "features": PLAIN,
    "sections": {"real-chem": {"student_dialogue": {"service": "chemistry"}}},
    "accounts": {"acme": {"student_dialogue": {"service": "acme", "on_busy": "merge"}}},
}


@pytest.mark.parametrize(
    ("section", "account", "service", "on_busy"),
    [
        (None, None, "standard", "queue"),
        ("real-chem", None, "chemistry", "queue"),
        (None, "acme", "acme", "merge"),
        ("real-chem", "acme", "chemistry", "merge"),
        ("other", "acme", "acme", "merge"),
        ("other", "other", "standard", "queue"),
    ],
)
def test_the_section_goes_before_the_account_before_the_default(section, account, service, on_busy):
    resolved = settings(**OVERRIDDEN).resolve("student_dialogue", section=section, account=account)
    assert (resolved.service, resolved.on_busy) == (service, on_busy)


def test_an_override_without_a_system_prompt_inherits_it():
    resolved = settings(**OVERRIDDEN).resolve("student_dialogue", section="real-chem", account="acme")
    assert resolved.system_prompt == "Be patient."


def test_an_override_may_change_the_system_prompt_alone():
    tables = {"features": PLAIN, "sections": {"s1": {"student_dialogue": {"system_prompt": "Be brief."}}}}
    resolved = settings(**tables).resolve("student_dialogue", section="s1")
    assert (resolved.service, resolved.system_prompt) == ("standard", "Be brief.")


def test_with_nothing_said_there_is_no_system_prompt_and_busy_is_rejected():
    resolved = settings(features={"student_dialogue": {"service": "standard"}}).resolve("student_dialogue")
    assert (resolved.feature, resolved.system_prompt, resolved.on_busy) == (
        "student_dialogue",
        None,
        "reject",
    )


def test_a_feature_with_no_service_names_the_table_to_fill_in():
    with pytest.raises(
        FeatureNotConfigured,
        match=r'"instructor_dashboard": set `service` in \[features.instructor_dashboard\]',
    ):
        settings(features=PLAIN).resolve("instructor_dashboard")


def test_the_error_names_the_section_and_the_account_and_their_tables():
    with pytest.raises(FeatureNotConfigured) as caught:
        settings().resolve("student_dialogue", section="real.chem", account="acme")
    message = str(caught.value)
    assert 'in the section "real.chem" for the account "acme"' in message
    assert '[sections."real.chem".student_dialogue]' in message
    assert "[accounts.acme.student_dialogue]" in message


def test_an_unknown_feature_is_told_its_nearest_name():
    with pytest.raises(FeatureNotConfigured, match=r'did you mean "student_dialogue"\?'):
        settings(features=PLAIN).resolve("student_dialog")


def test_a_feature_name_from_outside_cannot_break_the_message():
    with pytest.raises(FeatureNotConfigured) as caught:
        settings().resolve("x\n\x1b[2J" + "y" * 500)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_known_features_are_the_built_in_ones_and_those_of_the_file():
    own = settings(features={"lab_notes": {}} | PLAIN)
    assert own.known_features() == ("student_dialogue", "instructor_dashboard", "lab_notes")
