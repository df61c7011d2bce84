import pytest

from duologue.config.shape import ROOT, home_of, is_list, is_open, is_table, is_text, keys_of, paths, shape_at


def test_the_root_knows_the_tables_of_the_contract():
    assert keys_of(ROOT) == (
        "server",
        "auth",
        "store",
        "limits",
        "models",
        "services",
        "features",
        "sections",
        "accounts",
    )


@pytest.mark.parametrize(
    ("path", "test"),
    [
        (("server",), is_table),
        (("models",), is_open),
        (("sections", "any"), is_open),
        (("sections", "any", "student_dialogue"), is_table),
        (("models", "any", "parameters"), is_open),
        (("models", "any", "parameters", "x", "y"), is_open),
        (("models", "any", "price"), is_table),
        (("server", "allowed_origins"), is_list),
        (("auth", "token"), is_text),
        (("store", "url"), is_text),
        (("store", "data_dir"), is_text),
        (("models", "any", "provider"), is_text),
        (("models", "any", "url"), is_text),
        (("features", "any", "on_busy"), is_text),
    ],
)
def test_a_path_leads_to_a_value_of_its_kind(path, test):
    assert test(shape_at(path))


@pytest.mark.parametrize(
    "path", [("server", "port"), ("store", "timeout"), ("models", "m", "timeouts", "idle")]
)
def test_a_number_is_neither_text_nor_list_nor_table(path):
    shape = shape_at(path)
    assert not any(test(shape) for test in (is_text, is_list, is_table, is_open))


@pytest.mark.parametrize(
    "path", [("nowhere",), ("server", "x"), ("server", "port", "x"), ("models", "m", "x", "y")]
)
def test_a_path_that_leads_nowhere_has_no_shape(path):
    assert shape_at(path) is None


def test_fixed_paths_are_those_without_a_name_of_the_users():
    found = set(paths())
    assert ("server", "port") in found
    assert ("auth", "token") in found
    assert all(len(path) <= 2 for path in found)


def test_a_key_without_its_table_finds_home():
    assert home_of("idle_after") == ("limits", "idle_after")
    assert home_of("nothing") is None
