import pytest

from duologue.config.environment import merged, read_environment


def read(beneath=None, /, **environ):
    return read_environment(environ, beneath or {})


def problem(**environ):
    (only,) = read(**environ).problems
    return str(only)


def test_two_underscores_go_down_one_table():
    assert read(DUOLOGUE_SERVER__HOST="::1").tables == {"server": {"host": "::1"}}
    assert read(DUOLOGUE_MODELS__FAST__TIMEOUTS__IDLE="2.5").tables == {
        "models": {"fast": {"timeouts": {"idle": 2.5}}}
    }


def test_numbers_are_read_as_numbers_and_text_as_text():
    assert read(DUOLOGUE_SERVER__PORT="9000").tables["server"]["port"] == 9000
    assert read(DUOLOGUE_MODELS__FAST__MODEL="3.5").tables["models"]["fast"]["model"] == "3.5"
    assert read(DUOLOGUE_STORE__DATA_DIR="7").tables["store"]["data_dir"] == "7"
    assert (
        read(DUOLOGUE_SERVICES__S__ON_INTERRUPTED="keep").tables["services"]["s"]["on_interrupted"] == "keep"
    )


def test_the_token_has_a_short_name():
    assert read(DUOLOGUE_AUTH_TOKEN="123").tables == {"auth": {"token": "123"}}
    assert read(DUOLOGUE_AUTH__TOKEN="123").tables == {"auth": {"token": "123"}}


def test_where_a_value_came_from_is_remembered():
    assert read(DUOLOGUE_SERVER__PORT="1").origins == {("server", "port"): "DUOLOGUE_SERVER__PORT"}


def test_an_empty_variable_counts_as_not_set():
    layer = read(DUOLOGUE_AUTH_TOKEN="", DUOLOGUE_NONSENSE="")
    assert (layer.tables, layer.problems) == ({}, [])


def test_a_list_is_json_or_separated_by_commas():
    expected = {"server": {"allowed_origins": ["http://a", "http://b"]}}
    assert read(DUOLOGUE_SERVER__ALLOWED_ORIGINS="http://a, http://b,").tables == expected
    assert read(DUOLOGUE_SERVER__ALLOWED_ORIGINS='["http://a", "http://b"]').tables == expected


def test_a_table_is_a_json_object_and_single_variables_go_over_it():
    layer = read(
        DUOLOGUE_MODELS__FAST='{"provider": "null", "model": "a"}',
        DUOLOGUE_MODELS__FAST__MODEL="b",
    )
    assert layer.tables == {"models": {"fast": {"provider": "null", "model": "b"}}}


def test_a_parameter_is_json_where_it_can_be_and_else_text():
    layer = read(
        DUOLOGUE_MODELS__M__PARAMETERS__TEMPERATURE="0.7",
        DUOLOGUE_MODELS__M__PARAMETERS__EFFORT="low",
        DUOLOGUE_MODELS__M__PARAMETERS__RESPONSE_FORMAT__TYPE="text",
    )
    assert layer.tables["models"]["m"]["parameters"] == {
        "temperature": 0.7,
        "effort": "low",
        "response_format": {"type": "text"},
    }


def test_a_name_of_the_users_own_is_found_whatever_its_case_and_signs():
    beneath = {"sections": {"Real-Chem.101": {}}}
    layer = read(beneath, DUOLOGUE_SECTIONS__REAL_CHEM_101__STUDENT_DIALOGUE__SERVICE="s")
    assert layer.tables == {"sections": {"Real-Chem.101": {"student_dialogue": {"service": "s"}}}}


def test_a_name_that_is_exactly_there_goes_first():
    beneath = {"models": {"fast": {}, "FAST": {}}}
    assert read(beneath, DUOLOGUE_MODELS__FAST__MODEL="x").tables == {"models": {"FAST": {"model": "x"}}}


def test_a_new_name_is_taken_in_small_letters():
    assert read(DUOLOGUE_MODELS__BIG_ONE__PROVIDER="null").tables == {
        "models": {"big_one": {"provider": "null"}}
    }


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("DUOLOGUE_SERVER__PROT", "DUOLOGUE_SERVER__PORT"),
        ("DUOLOGUE_SERVER_PORT", "DUOLOGUE_SERVER__PORT"),
        ("DUOLOGUE_PORT", "DUOLOGUE_SERVER__PORT"),
        ("DUOLOGUE_AUTH_TOKN", "DUOLOGUE_AUTH_TOKEN"),
        ("DUOLOGUE_CONFIGG", "DUOLOGUE_CONFIG"),
        ("DUOLOGUE_MODELS__FAST__MODLE", "DUOLOGUE_MODELS__FAST__MODEL"),
        ("DUOLOGUE_STORE__CHECKPOINT_INTERVALL", "DUOLOGUE_STORE__CHECKPOINT_INTERVAL"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_known_one(variable, hint):
    assert problem(**{variable: "1"}) == f"{variable}: unknown variable; did you mean {hint}?"


@pytest.mark.parametrize(
    "variable", ["DUOLOGUE_QXZ", "DUOLOGUE_SERVER__PORT__MORE", "DUOLOGUE_MODELS__", "DUOLOGUE_"]
)
def test_a_variable_like_nothing_known_is_still_an_error(variable):
    assert problem(**{variable: "1"}).startswith(f"{variable}: unknown variable")


def test_text_where_a_table_belongs_is_an_error():
    assert "JSON object" in problem(DUOLOGUE_SERVER="127.0.0.1")


def test_a_variable_below_another_ones_plain_value_is_an_error():
    layer = read(DUOLOGUE_MODELS__M__PARAMETERS__A="1", DUOLOGUE_MODELS__M__PARAMETERS__A__B="2")
    assert [problem.path for problem in layer.problems] == [("DUOLOGUE_MODELS__M__PARAMETERS__A__B",)]


def test_an_error_does_not_repeat_the_value():
    assert "hunter2" not in problem(DUOLOGUE_AUTH_TOKN="hunter2")


def test_variables_of_others_are_none_of_our_business():
    layer = read(
        PATH="/bin",
        DUOLOGUE_CONFIG="elsewhere.toml",
        DUOLOGUE_URL="http://127.0.0.1:8400",
        DUOLOGUE_SERVICE_HOST="10.0.0.1",
        DUOLOGUE_SERVICE_PORT="8400",
        DUOLOGUE_SERVICE_PORT_HTTP="8400",
        DUOLOGUE_PORT="tcp://10.0.0.1:8400",
        DUOLOGUE_PORT_8400_TCP="tcp://10.0.0.1:8400",
        DUOLOGUE_PORT_8400_TCP_ADDR="10.0.0.1",
    )
    assert (layer.tables, layer.problems) == ({}, [])


def test_merging_goes_table_by_table_and_changes_neither():
    lower = {"a": {"x": 1, "y": 2}, "b": 1}
    upper = {"a": {"y": 3}, "b": None, "c": {"z": None}}
    assert merged(lower, upper) == {"a": {"x": 1, "y": 3}, "b": 1, "c": {}}
    assert lower == {"a": {"x": 1, "y": 2}, "b": 1}
