import pytest

from duologue.config.problems import InvalidSettings, Problem, nearest, quoted, table_name


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("server", "port"), "[server] port: no"),
        (("port",), "port: no"),
        (("models", "gpt 4.1", "url"), '[models."gpt 4.1"] url: no'),
        (("models", 'a"b', "url"), '[models."a\\"b"] url: no'),
    ],
)
def test_a_problem_names_its_table_as_the_file_writes_it(path, expected):
    assert str(Problem(path, "no")) == expected


def test_a_problem_says_which_variable_it_came_from():
    assert (
        str(Problem(("server", "port"), "no", "DUOLOGUE_SERVER__PORT"))
        == "[server] port (from DUOLOGUE_SERVER__PORT): no"
    )


def test_the_nearest_name_is_asked_for_and_a_far_one_is_not():
    assert nearest("prot", ["host", "port"]) == '; did you mean "port"?'
    assert nearest("zzz", ["host", "port"], otherwise="; try again") == "; try again"


def test_a_quoted_name_is_one_short_line():
    assert quoted("a\nb\x1b") == '"a\\nb\\u001b"'
    assert len(quoted("x" * 500)) == 82
    assert quoted("Ä") == '"Ä"'


def test_a_table_is_named_with_its_dots_quoted():
    assert table_name(("sections", "a.b", "x")) == '[sections."a.b".x]'


def test_the_error_lists_all_problems_and_keeps_them():
    problems = [Problem(("a",), "one"), Problem(("b",), "two")]
    error = InvalidSettings(problems, source="f.toml")
    assert str(error) == "f.toml: 2 problems\n  a: one\n  b: two"
    assert error.problems == tuple(problems)
