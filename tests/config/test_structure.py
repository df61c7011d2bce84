import pytest

from duologue.config import InvalidSettings, Problem
from duologue.config.structure import build_settings


def refusal(tables, **keys):
    with pytest.raises(InvalidSettings) as caught:
        build_settings(tables, **keys)
    return caught.value


@pytest.mark.parametrize(
    ("tables", "line"),
    [
        ({"server": {"prot": 1}}, '[server] prot: unknown key; did you mean "port"?'),
        ({"servre": {}}, 'servre: unknown key; did you mean "server"?'),
        ({"port": 1}, "port: unknown key; it belongs in [server]"),
        ({"data_dir": "x"}, "data_dir: unknown key; it belongs in [store]"),
        ({"auth": {"qqq": 1}}, "[auth] qqq: unknown key; known here: token"),
        (
            {"models": {"m": {"provider": "null", "modle": "x"}}},
            '[models.m] modle: unknown key; did you mean "model"?',
        ),
        (
            {"models": {"m": {"provider": "null", "timeouts": {"idel": 1.0}}}},
            '[models.m.timeouts] idel: unknown key; did you mean "idle"?',
        ),
        (
            {"sections": {"s 1": {"student_dialogue": {"sevrice": "x"}}}},
            '[sections."s 1".student_dialogue] sevrice: unknown key; did you mean "service"?',
        ),
        ({"models": {"m": {}}}, "[models.m] provider: is required"),
        ({"models": {"m": "null"}}, "[models] m: must be a table"),
        ({"models": 3}, "models: must be a table"),
        ({"server": 3}, "server: must be a table"),
        (
            {
                "services": {"s": {"primary": "x", "on_interrupted": "keeep"}},
                "models": {"x": {"provider": "null"}},
            },
            '[services.s] on_interrupted: must be "retry" or "keep"; did you mean "keep"?',
        ),
        ({"server": {"port": "x"}}, "[server] port: must be a valid integer"),
        ({"server": {"host": ["x"]}}, "[server] host: must be a valid string"),
        (
            {"models": {"m": {"provider": "null", "api_key_env": "sk-hunter2"}}},
            "[models.m] api_key_env: must be a variable's name (letters, digits and _), never the key itself",
        ),
        (
            {"models": {"": {"provider": "null"}}},
            '[models] "": must not be empty or hold blanks at its ends or control characters',
        ),
    ],
)
def test_a_wrong_key_is_named_with_its_table_and_what_to_write_instead(tables, line):
    error = refusal(tables)
    assert str(error).splitlines()[1:] == ["  " + line]


def test_wrong_keys_and_contradictions_are_listed_together():
    error = refusal(
        {
            "server": {"prot": 1},
            "models": {"m": {"provider": "openai_compatible", "url": "http://h"}, "broken": {"provider": 3}},
            "services": {"s": {"primary": "broken", "backup": "nowhere"}, "t": {"primary": "m", "oops": 1}},
            "features": {"student_dialogue": {"service": "t"}, "own": {"service": "u"}},
            "sections": {"a": {"onw": {"bad": 1}}},
        }
    )
    assert [problem.path for problem in error.problems] == [
        ("server", "prot"),
        ("models", "broken", "provider"),
        ("services", "t", "oops"),
        ("sections", "a", "onw", "bad"),
        ("models", "m", "model"),
        ("services", "s", "backup"),
        ("features", "own", "service"),
        ("sections", "a", "onw"),
    ]


def test_a_broken_token_is_not_reported_as_a_missing_one():
    error = refusal({"server": {"host": "0.0.0.0"}, "auth": {"token": "two words"}})
    assert [problem.path for problem in error.problems] == [("auth", "token")]


def test_what_was_wrong_before_goes_first():
    earlier = Problem(("DUOLOGUE_X",), "unknown variable")
    error = refusal({"server": {"prot": 1}}, more_problems=(earlier,))
    assert [problem.path for problem in error.problems] == [("DUOLOGUE_X",), ("server", "prot")]


def test_an_earlier_problem_alone_is_enough():
    assert refusal({}, more_problems=(Problem(("DUOLOGUE_X",), "unknown variable"),)).problems


def test_a_problem_below_a_variables_table_names_the_variable():
    error = refusal({"models": {"m": {"provider": 3}}}, origins={("models", "m"): "DUOLOGUE_MODELS__M"})
    assert "[models.m] provider (from DUOLOGUE_MODELS__M): " in str(error)


def test_no_value_is_repeated_and_nothing_that_holds_one_is_chained():
    error = refusal(
        {
            "auth": {"token": "hunter2 and more"},
            "store": {"url": "mysql://u:hunter2@h", "timeout": "hunter2"},
            "models": {"m": {"provider": "hunter2", "url": "https://u:hunter2@h", "api_key_env": "hunter-2"}},
            "features": {"student_dialogue": {"on_busy": "hunter2"}},
        }
    )
    assert "hunter" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None


def test_the_error_is_a_configuration_error_with_its_wire_code():
    assert refusal({"x": 1}).code == "configuration"


def test_one_problem_is_one_and_two_are_two():
    assert str(refusal({"x": 1}, source="a.toml")).startswith("a.toml: 1 problem\n")
    assert str(refusal({"x": 1, "y": 1}, source="a.toml")).startswith("a.toml: 2 problems\n")
