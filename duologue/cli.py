"""The `duologue` command. Each command imports what it needs when it runs, so that `--help` is quick."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, TypeVar

import typer

from duologue import __version__
from duologue.errors import ConfigurationError, DuologueError, NotAuthenticated

if TYPE_CHECKING:
    from duologue.config import Settings

__all__ = ["app", "main"]

T = TypeVar("T")
_CONFIGURATION_WRONG = 2  # as for a command line that is wrong
_INTERRUPTED = 130  # as a shell says it of Ctrl-C

app = typer.Typer(
    name="duologue",
    help="An actor-based dialogue runtime: one supervised actor per dialogue with a language model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command."""
    app()


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"duologue {__version__}")
        raise typer.Exit


@app.callback()
def _duologue(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


# ── serve ───────────────────────────────────────────────────────────────────────────────────────────────────

_File = Annotated[
    Path | None, typer.Option(help="TOML file; else DUOLOGUE_CONFIG, else ./duologue.toml if it is there.")
]
_Host = Annotated[str | None, typer.Option(help="Address to listen on; all but loopback need a token.")]
_Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any free one.")]
_DataDir = Annotated[Path | None, typer.Option(help="Where the bundled store keeps its files.")]
_StoreUrl = Annotated[
    str | None,
    typer.Option(help="A Redis or Valkey to use instead. One with a password belongs in the file."),
]
_LogFormat = Annotated[Literal["plain", "json"], typer.Option(help="How lines on standard error look.")]
_LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"], typer.Option(help="The least important lines to write.")
]


@app.command()
def serve(  # noqa: PLR0917 - each is an option
    config: _File = None,
    host: _Host = None,
    port: _Port = None,
    data_dir: _DataDir = None,
    store_url: _StoreUrl = None,
    log_format: _LogFormat = "plain",
    log_level: _LogLevel = "info",
) -> None:
    """Run the server until Ctrl-C or SIGTERM. Flags go over the environment, which goes over the file."""
    overrides = _given(server={"host": host, "port": port}, store={"data_dir": data_dir, "url": store_url})
    settings = _load(config, overrides)
    from duologue.serving import run_server  # noqa: PLC0415

    def announce(address: str) -> None:
        typer.echo(address)

    try:
        run_server(settings, announce, log_format=log_format, log_level=log_level)
    except ConfigurationError as error:
        _fail(str(error), status=_CONFIGURATION_WRONG)
    except DuologueError as error:
        _fail(str(error))
    except KeyboardInterrupt:  # before the server took the signal over
        raise typer.Exit(_INTERRUPTED) from None


# ── chat ────────────────────────────────────────────────────────────────────────────────────────────────────

_Url = Annotated[str, typer.Option(help="The server's address.", envvar="DUOLOGUE_URL")]
_Dialogue = Annotated[
    str | None, typer.Option(help="Which dialogue, made if it is not there; else a new one.")
]
_Feature = Annotated[str, typer.Option(help="What a new dialogue is for.")]
_Section = Annotated[str | None, typer.Option(help="The section that a new dialogue belongs to.")]
_Account = Annotated[str | None, typer.Option(help="The account that a new dialogue belongs to.")]
_Token = Annotated[
    str | None,
    typer.Option(help="Where the server wants one. Safer in the variable.", envvar="DUOLOGUE_AUTH_TOKEN"),
]


@app.command()
def chat(  # noqa: PLR0917 - each is an option
    url: _Url = "http://127.0.0.1:8400",
    dialogue: _Dialogue = None,
    feature: _Feature = "student_dialogue",
    section: _Section = None,
    account: _Account = None,
    token: _Token = None,
) -> None:
    """Talk to a dialogue in the terminal, or answer the lines of a pipe.

    The answer streams as it is made. Ctrl-C stops it; Ctrl-C again, or at the prompt, or Ctrl-D leaves. The
    dialogue stays at the server.
    """
    import asyncio  # noqa: PLC0415

    from duologue.chat import ChatOptions, run_chat  # noqa: PLC0415

    options = ChatOptions(url, dialogue, feature, section, account, token)
    raise typer.Exit(_ask(url, lambda: asyncio.run(run_chat(options))))


# ── inspect ─────────────────────────────────────────────────────────────────────────────────────────────────

_Children = Annotated[
    int, typer.Option(min=0, max=10_000, help="Most children of one actor to show; the rest is counted.")
]


@app.command()
def inspect(
    url: _Url = "http://127.0.0.1:8400",
    token: _Token = None,
    children: _Children = 50,
) -> None:
    """Show the actors of a running server as a tree.

    Each line has an actor's name and state, the messages that wait and that it has handled, how often it was
    restarted, and why its life before ended.
    """
    import asyncio  # noqa: PLC0415

    from duologue.client.http import fetch  # noqa: PLC0415

    text = _ask(url, lambda: asyncio.run(fetch(url, "/v1/_inspect", {"children": children}, token=token)))
    typer.echo(text, nl=False)


# ── check-config ────────────────────────────────────────────────────────────────────────────────────────────


@app.command()
def check_config(file: Annotated[Path, typer.Argument(help="The TOML file.")]) -> None:
    """Say what each feature resolves to, or what is wrong and where.

    The environment counts as it does for `serve`. Nothing is started, and no key is read or shown.
    """
    settings = _load(file, {})
    from duologue.config import describe  # noqa: PLC0415

    for line in describe(settings).lines():
        typer.echo(line)


# ── local-model ─────────────────────────────────────────────────────────────────────────────────────────────


@app.command()
def local_model(
    gguf: Annotated[Path, typer.Option(help="The model's file, in llama.cpp's format.")],
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes any free one.")] = 8401,
    context: Annotated[
        int, typer.Option(help="Tokens of one conversation, question and answer together.")
    ] = 4096,
    parallel: Annotated[int, typer.Option(help="Answers at the same time.")] = 1,
    threads: Annotated[
        int | None, typer.Option(help="Of the processor; else one less than there are cores.")
    ] = None,
) -> None:
    """Serve a model of your own over HTTP until Ctrl-C. Needs: pip install 'duologue[local]'."""
    from duologue.local_model import LocalModelOptions, run_local_model  # noqa: PLC0415

    try:
        options = LocalModelOptions(gguf=gguf, port=port, context=context, parallel=parallel, threads=threads)
        status = run_local_model(options, announce=typer.echo)
    except ConfigurationError as error:
        _fail(str(error), status=_CONFIGURATION_WRONG)
    raise typer.Exit(status)


# ── what they share ─────────────────────────────────────────────────────────────────────────────────────────


def _given(**tables: dict[str, object]) -> dict[str, dict[str, Any]]:
    """What the flags say, without those that were not used."""
    return {
        table: used
        for table, keys in tables.items()
        if (used := {key: value for key, value in keys.items() if value is not None})
    }


def _load(path: Path | None, overrides: dict[str, dict[str, Any]]) -> "Settings":
    from duologue.config import load_settings  # noqa: PLC0415

    try:
        return load_settings(path, overrides=overrides)
    except ConfigurationError as error:
        _fail(str(error), status=_CONFIGURATION_WRONG)


def _ask(url: str, work: Callable[[], T]) -> T:
    """What `work` makes of the server at `url`, or the end of the command with a sentence about what is wrong."""
    from duologue.client import ConnectionFailed  # noqa: PLC0415

    try:
        return work()
    except ConnectionFailed as error:
        _fail(f"no connection to {url}: {error}. Is `duologue serve` running?")
    except NotAuthenticated:
        _fail("the server wants a token (or another one): give it in DUOLOGUE_AUTH_TOKEN or with --token")
    except DuologueError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def _fail(message: str, *, status: int = 1) -> NoReturn:
    typer.echo(f"duologue: {message}", err=True)
    raise typer.Exit(status)
