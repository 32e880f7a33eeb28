"""What the commands share: consoles, loading an engine, printing JSON, reading a run file."""

import functools
import json
import os
import signal
import sys
import threading
import tomllib
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from satisfice.core.errors import BadInput, UnknownName

if TYPE_CHECKING:
    from satisfice.core.engine import Engine

out_console = Console(width=None if sys.stdout.isatty() else 120)
err_console = Console(stderr=True)

QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
}
"""What other libraries read from the environment when they are loaded."""


def load(model: str, **options: Any) -> "Engine":
    """Load an engine and say so."""
    from satisfice.engines import load_engine

    with err_console.status(f"Loading {model} ..."):
        return load_engine(model, **options)


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output."""
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def quiet_libraries() -> None:
    """Keep warnings and bars of other libraries off the screen; `python -W` and their variables bring them back."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)


def resumable(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command that goes on where it stopped say so when it is stopped, by Ctrl-C (130) or SIGTERM (143)."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        code = 128 + signal.SIGINT

        def end(number: int, frame: object) -> None:
            nonlocal code
            code = 128 + number
            raise KeyboardInterrupt

        of_main = threading.current_thread() is threading.main_thread()  # no other may hear signals
        before = signal.signal(signal.SIGTERM, end) if of_main else None
        try:
            command(**given)
        except KeyboardInterrupt:
            err_console.print("\nStopped. What was finished is safe: the same command goes on from there.")
            raise typer.Exit(code) from None
        finally:
            if of_main:
                signal.signal(signal.SIGTERM, before)

    return run


def exit_on_failures(results: Mapping[str, Any]) -> None:
    """Say in red what failed in a run, and leave with exit code 1; do nothing where nothing did."""
    from satisfice.measure.run import failures

    if told := failures(results):
        for line in told:
            err_console.print(f"[bold red]failed:[/] {escape(line)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


def read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Make the keys of a run file the defaults of the flags; what is typed wins."""
    if path is None:
        return None
    try:
        keys = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput(f"config {path} cannot be read: {error}. Give a TOML file whose keys are the flags.") from error
    flags = {str(flag.name): flag for flag in context.command.params if flag.name not in ("config", "help")}
    values: dict[str, Any] = {}
    for key, value in keys.items():
        name = key.replace("-", "_")
        if name not in flags:
            raise UnknownName(f"key in {path}", key, [flag.replace("_", "-") for flag in flags])
        values[name] = ",".join(map(str, value)) if isinstance(value, list) else value
        try:
            flags[name].process_value(context, values[name])
        except typer.BadParameter as error:
            raise BadInput(f"config {path}: {key} = {value!r}: {error.message}") from error
    context.default_map = {**(context.default_map or {}), **values}
    return path


Config = Annotated[
    Path | None, typer.Option(help="TOML file whose keys are these flags.", callback=read_config, is_eager=True)
]
