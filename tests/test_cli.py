"""The `duologue` command, run as people run it."""

import json
import re
import signal
import socket
import subprocess

import httpx
import pytest
from typer.testing import CliRunner

import duologue
from duologue.cli import app
from duologue.serving import JsonLines, PlainLines
from tests.serve_process import COMMAND, CONFIGURATION, ServeProcess, environment, run, wait_until

TOKEN = "correct-horse-battery-staple"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ServeProcess(tmp_path_factory.mktemp("server"), "--log-format", "json") as running:
        yield running


class Here:
    """The command in this process: for what needs no server."""

    def __init__(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        self._runner = CliRunner(env={"COLUMNS": "200"})

    def __call__(self, *arguments):
        result = self._runner.invoke(app, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return subprocess.CompletedProcess(arguments, result.exit_code, result.stdout, result.stderr)


@pytest.fixture
def here(tmp_path, monkeypatch):
    return Here(tmp_path, monkeypatch)


def no_traceback(done):
    assert "Traceback" not in done.stderr
    return done


# ── in general ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_version_is_printed(tmp_path):
    assert run("--version", folder=tmp_path).stdout == f"duologue {duologue.__version__}\n"


@pytest.mark.parametrize("command", [[], ["serve"], ["chat"], ["inspect"], ["check-config"], ["local-model"]])
def test_every_command_explains_itself(command, here):
    done = here(*command, "--help")
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert "noqa" not in done.stdout


def test_help_names_each_command(here):
    shown = here("--help").stdout
    for command in ("serve", "chat", "inspect", "check-config", "local-model"):
        assert command in shown


@pytest.mark.parametrize(
    "command", [["nonsense"], ["serve", "--nonsense"], ["check-config"], ["local-model"]]
)
def test_a_wrong_command_line_is_explained_and_ends_with_2(command, here):
    done = no_traceback(here(*command))
    assert done.returncode == 2
    assert done.stderr


# ── serve ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_serve_prints_one_line_the_address_at_which_it_answers(server):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", server.url)
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
    assert httpx.get(f"{server.url}/readyz", trust_env=False).status_code == 200


def test_serve_stops_on_sigterm_and_on_ctrl_c_with_0_and_leaves_no_store_behind(tmp_path):
    with ServeProcess(tmp_path) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            assert server.stop(number) == 0
            assert "Traceback" not in server.stderr
            server.start()  # the data directory is free again


def test_a_port_in_use_is_said_in_one_line(server, tmp_path):
    done = no_traceback(run("serve", "--port", str(server.port), folder=tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("duologue: ")
    assert f"{server.port}" in done.stderr
    assert "in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_data_directory_in_use_is_said_by_name(server, tmp_path):
    taken = server.folder / "data"
    done = no_traceback(run("serve", "--port", "0", "--data-dir", str(taken), folder=tmp_path))
    assert done.returncode != 0
    assert str(taken) in done.stderr


def test_another_address_than_loopback_needs_a_token(here):
    done = no_traceback(here("serve", "--host", "0.0.0.0", "--port", "0"))
    assert done.returncode == 2
    assert "DUOLOGUE_AUTH_TOKEN" in done.stderr


def test_a_wrong_configuration_names_the_key_and_its_table_and_starts_nothing(tmp_path, here):
    file = tmp_path / "wrong.toml"
    file.write_text(CONFIGURATION + '[server]\nprot = 9000\n[services.more]\nprimary = "nowhere"\n')
    done = no_traceback(here("serve", "--config", str(file)))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "[server] prot" in done.stderr
    assert "port" in done.stderr
    assert "nowhere" in done.stderr
    assert not (tmp_path / ".duologue").exists()


def test_flags_go_over_the_environment_which_goes_over_the_file(tmp_path):
    def port() -> int:
        with socket.create_server(("127.0.0.1", 0)) as free:
            return free.getsockname()[1]

    in_file, in_environment = port(), port()
    configuration = CONFIGURATION + f"[server]\nport = {in_file}\n"
    command = [*COMMAND, "serve", "--data-dir", str(tmp_path / "data")]
    (tmp_path / "duologue.toml").write_text(configuration)
    variables = environment(DUOLOGUE_SERVER__PORT=str(in_environment))
    for flags, wanted in (([], in_environment), (["--port", "0"], None)):
        with subprocess.Popen(
            command + flags,
            cwd=tmp_path,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            address = process.stdout.readline().strip()
            process.terminate()
        bound = int(address.rpartition(":")[2])
        assert bound == wanted if wanted else bound not in {in_file, in_environment, 8400}


def test_log_lines_are_json_where_that_is_asked_for(server):
    httpx.get(f"{server.url}/v1/dialogues", trust_env=False)
    wait_until(lambda: "/v1/dialogues" in server.stderr, "the request is in the log")
    assert all({"at", "level", "logger", "message"} <= set(line) for line in server.log())


def test_nothing_that_was_said_and_no_token_is_in_the_log_at_any_level(tmp_path):
    flags = ("--log-level", "debug")
    variables = {"DUOLOGUE_AUTH_TOKEN": TOKEN}
    with ServeProcess(tmp_path, *flags, variables=variables) as server:
        done = run(
            "chat", "--url", server.url, folder=tmp_path, stdin="canary-question\n", variables=variables
        )
        assert done.stdout == "One two three four.\n"
    assert server.stderr
    for secret in ("canary-question", "three four", TOKEN):
        assert secret not in server.stderr


def record(**more):
    import logging

    return logging.makeLogRecord(
        {
            "name": "duologue.web",
            "levelname": "INFO",
            "msg": "hello %s",
            "args": ("é",),
            "created": 0.5,
            "msecs": 500,
            **more,
        }
    )


def test_a_json_line_holds_the_extra_values_and_the_exception():
    try:
        raise ValueError("broken")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    line = json.loads(JsonLines().format(record(request_id="r1", exc_info=info)))
    assert line["message"] == "hello é"
    assert line["at"] == "1970-01-01T00:00:00.500Z"
    assert (line["level"], line["logger"], line["request_id"]) == ("info", "duologue.web", "r1")
    assert "ValueError: broken" in line["exception"]


def test_a_plain_line_is_one_line_with_the_extra_values_at_its_end():
    line = PlainLines().format(record(request_id="r1"))
    assert line == "1970-01-01T00:00:00.500Z info    duologue.web hello é request_id=r1"


# ── check-config ────────────────────────────────────────────────────────────────────────────────────────────


def test_check_config_says_what_each_feature_resolves_to(tmp_path, here):
    file = tmp_path / "right.toml"
    file.write_text(CONFIGURATION)
    done = here("check-config", str(file))
    assert done.returncode == 0
    assert "student_dialogue (everyone): quick = quick" in done.stdout
    assert "student_dialogue (section chemistry): paced = paced" in done.stdout
    assert "failing_over (everyone): failing_over = dying then quick" in done.stdout
    assert "instructor_dashboard (everyone): no service" in done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server\n", ["TOML"]),
        ("[modles.fast]\n", ["modles", "models"]),
        ('[services.s]\nprimary = "nowhere"\n', ["[services.s]", "primary", "nowhere"]),
        ('[models.m]\nprovider = "openai_compatible"\n', ["[models.m]", "model"]),
    ],
)
def test_check_config_says_what_is_wrong_and_where(tmp_path, text, words, here):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    done = no_traceback(here("check-config", str(file)))
    assert done.returncode == 2
    assert done.stdout == ""
    assert all(word in done.stderr for word in [str(file), *words])


def test_check_config_of_a_file_that_is_not_there_says_so(here):
    done = no_traceback(here("check-config", "nowhere.toml"))
    assert done.returncode == 2
    assert "nowhere.toml" in done.stderr


def test_check_config_shows_no_secret(tmp_path, here):
    file = tmp_path / "secret.toml"
    file.write_text(
        CONFIGURATION + f'[auth]\ntoken = "{TOKEN}"\n[store]\nurl = "redis://:canary-password@127.0.0.1/0"\n'
    )
    done = here("check-config", str(file))
    assert done.returncode == 0
    assert TOKEN not in done.stdout + done.stderr
    assert "canary-password" not in done.stdout + done.stderr


# ── local-model ─────────────────────────────────────────────────────────────────────────────────────────────


def test_local_model_says_what_is_missing(here):
    done = no_traceback(here("local-model", "--gguf", "nowhere.gguf"))
    assert done.returncode == 2
    assert "local model" in done.stderr


def test_local_model_refuses_a_number_out_of_bounds(here):
    done = no_traceback(here("local-model", "--gguf", "nowhere.gguf", "--port", "70000"))
    assert done.returncode == 2
    assert "port" in done.stderr


# ── inspect ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_inspect_shows_the_actors_of_a_running_server(server, tmp_path):
    said = "Words that nobody else may read"
    run("chat", "--url", server.url, "--dialogue", "watched", folder=tmp_path, stdin=f"{said}\n")
    done = no_traceback(run("inspect", "--url", server.url, folder=tmp_path))
    assert done.returncode == 0
    totals, root, *below = done.stdout.splitlines()
    assert re.match(r"\d+ actors, \d+ started; \d+ calls wait; ", totals)
    actor = r" running, mailbox \d+, handled \d+, restarts \d+"
    assert re.fullmatch(r"root \(Supervisor\)" + actor, root)
    for name in (r"store \(\w+\)", r"dialogues \(DynamicSupervisor\)", r"directory \(DirectoryServer\)"):
        assert any(re.fullmatch("[├└]─ " + name + actor, line) for line in below), name
    assert any(line.startswith("│  └─ DialogueServer-") or "├─ DialogueServer-" in line for line in below)
    assert said not in done.stdout


def test_inspect_counts_the_children_beyond_those_that_it_shows(server, tmp_path):
    run("chat", "--url", server.url, folder=tmp_path, stdin="Hi\n")
    done = run("inspect", "--url", server.url, "--children", "0", folder=tmp_path)
    assert re.fullmatch(r"└─ … and \d+ more", done.stdout.splitlines()[2])
    assert no_traceback(run("inspect", "--children", "-1", folder=tmp_path)).returncode == 2


def test_inspect_without_a_server_says_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = no_traceback(run("inspect", "--url", f"http://127.0.0.1:{port}", folder=tmp_path))
    assert done.returncode == 1
    assert "duologue serve" in done.stderr
    done = no_traceback(run("inspect", "--url", "nonsense", folder=tmp_path))
    assert done.returncode == 1
    assert "no address" in done.stderr


def test_inspect_wants_the_servers_token(tmp_path):
    variables = {"DUOLOGUE_AUTH_TOKEN": TOKEN}
    with ServeProcess(tmp_path, variables=variables) as server:
        done = run("inspect", "--url", server.url, folder=tmp_path, variables=variables)
        assert (done.returncode, done.stdout.splitlines()[1][:4]) == (0, "root")
        done = no_traceback(run("inspect", "--url", server.url, folder=tmp_path))
        assert (done.returncode, done.stdout) == (1, "")
        assert "token" in done.stderr


# ── chat, through a pipe ────────────────────────────────────────────────────────────────────────────────────


def test_lines_of_a_pipe_are_answered_on_standard_output(server, tmp_path):
    done = run("chat", "--url", server.url, folder=tmp_path, stdin="What is a monad?\n\nAnd a functor?")
    assert done.returncode == 0
    assert done.stdout == "One two three four.\nOne two three four.\n"
    assert "quick · primary" in done.stderr


def test_chat_goes_on_in_a_dialogue_by_its_name(server, tmp_path):
    for _ in range(2):
        done = run("chat", "--url", server.url, "--dialogue", "by-name", folder=tmp_path, stdin="Hi\n")
        assert done.returncode == 0
    page = httpx.get(f"{server.url}/v1/dialogues/by-name/messages", trust_env=False).json()
    assert len(page["messages"]) == 4


def test_chat_tells_a_failover_and_a_failure_apart_by_its_exit_status(server, tmp_path):
    done = run("chat", "--url", server.url, "--feature", "failing_over", folder=tmp_path, stdin="Hi\n")
    assert done.returncode == 0
    assert done.stdout.endswith("One two three four.\n")
    assert "withdrawn" in done.stderr
    assert "quick · backup" in done.stderr
    done = no_traceback(
        run("chat", "--url", server.url, "--feature", "failing", folder=tmp_path, stdin="Hi\n")
    )
    assert done.returncode == 1
    assert "failed: " in done.stderr


def test_a_section_chooses_its_own_models(server, tmp_path):
    done = run("chat", "--url", server.url, "--section", "chemistry", folder=tmp_path, stdin="Hi\n")
    assert "paced · primary" in done.stderr


def test_chat_without_a_server_says_what_to_do(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = no_traceback(run("chat", "--url", f"http://127.0.0.1:{port}", folder=tmp_path, stdin="Hi\n"))
    assert done.returncode == 1
    assert "duologue serve" in done.stderr


@pytest.mark.parametrize(
    ("flags", "words"), [(["--url", "nonsense"], "no address"), (["--feature", "nonsense"], "nonsense")]
)
def test_chat_that_is_refused_says_why(server, tmp_path, flags, words):
    done = no_traceback(run("chat", "--url", server.url, *flags, folder=tmp_path, stdin="Hi\n"))
    assert done.returncode == 1
    assert words in done.stderr


def test_chat_takes_its_token_from_the_environment(tmp_path):
    variables = {"DUOLOGUE_AUTH_TOKEN": TOKEN}
    with ServeProcess(tmp_path, variables=variables) as server:
        done = run("chat", "--url", server.url, folder=tmp_path, stdin="Hi\n", variables=variables)
        assert (done.returncode, done.stdout) == (0, "One two three four.\n")
        done = no_traceback(run("chat", "--url", server.url, folder=tmp_path, stdin="Hi\n"))
        assert done.returncode == 1
        assert "token" in done.stderr
