"""The command that runs the gateway."""

import asyncio
import gc
import logging
import signal
from pathlib import Path
from typing import Annotated, Any

import typer

from satisfice.cli import complete
from satisfice.cli.common import err_console
from satisfice.cli.options import options_of
from satisfice.core.errors import BadInput, MissingExtra, SatisficeError
from satisfice.core.flags import settings as settings_of
from satisfice.gateway.settings import Limits, Server, Settings

LOOPBACK = ("127.0.0.1", "::1", "localhost")
log = logging.getLogger("satisfice.gateway")


@options_of(Server)
@options_of(Settings)
@options_of(Limits)
def serve(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="TOML file with these options; read again on SIGHUP.")] = None,
    upstream: Annotated[
        list[str] | None, typer.Option(help="An OpenAI-compatible server; several: any of them may fail.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="A model in this process, in place of a server: as for `satisfice solve`, without addresses.",
            autocompletion=complete.models,
        ),
    ] = None,
    policy: Annotated[
        str,
        typer.Option(
            help="The policy for requests that do not name one.", autocompletion=complete.methods_of("policy")
        ),
    ] = "full",
    offer: Annotated[
        list[str] | None, typer.Option(help="NAME=POLICY that requests may name; files are allowed here only.")
    ] = None,
    **settings: Any,
) -> None:
    """Stop any reasoning model at the right time, behind OpenAI's interface."""
    try:
        import uvicorn

        from satisfice.gateway.app import Gateway, create_app
        from satisfice.gateway.config import read_config, settings_from
        from satisfice.gateway.logs import set_up
        from satisfice.gateway.tracing import Spans
    except ModuleNotFoundError as error:
        if error.name in {"aiohttp", "uvicorn", "prometheus_client", "pydantic", "starlette"}:
            raise MissingExtra("satisfice serve", "serve") from error
        raise
    limits = {setting.field: settings.pop(setting.field) for setting in settings_of(Limits)}
    given: dict[str, Any] = {
        "upstream": upstream or [], "model": model, "policy": policy, "offers": _offers(offer or []), **settings,
        "limits": limits,
    }  # fmt: skip
    typed = {key for key in context.params if _is_typed(context, key)}

    def told() -> dict[str, Any]:
        """Return the options: what was typed wins over the file, the file over the defaults."""
        return given if config is None else _merged(given, read_config(config), typed)

    options = told()
    checked = settings_from(options)
    if options["host"] not in LOOPBACK and not checked.keys:
        err_console.print("[yellow]Anybody who reaches this address may use it: give --api-key-env.[/]")
    if options["log_format"] not in ("text", "json"):
        raise BadInput(f"serve: log-format must be text or json, got {options['log_format']!r}.")
    set_up(json_lines=options["log_format"] == "json", requests=options["log_requests"])

    def when_open(gateway: Gateway) -> None:
        _keep_what_is_loaded()
        _say_what_is_there(gateway)
        if config is not None and hasattr(signal, "SIGHUP"):
            loop = asyncio.get_running_loop()
            loop.add_signal_handler(signal.SIGHUP, lambda: _reload(gateway, lambda: settings_from(told())))

    sources = _sources(options["upstream"], options["model"], options["upstream_key_env"])
    spans = Spans() if options["traces"] else None
    heard: dict[str, Any] = {} if spans is None else {"told": spans.told}
    app: Any = create_app(sources, checked, name=options["name"], when_open=when_open, **heard)
    app = app if spans is None else spans.around(app)
    err_console.print(
        f"satisfice serves at http://{options['host']}:{options['port']}, its page included.", highlight=False
    )
    uvicorn.run(
        app, host=options["host"], port=options["port"], log_level="warning", access_log=False,
        timeout_graceful_shutdown=options["drain_s"], server_header=False, h11_max_incomplete_event_size=65_536,
    )  # fmt: skip


def _is_typed(context: typer.Context, key: str) -> bool:
    source = context.get_parameter_source(key)
    return source is not None and source.name != "DEFAULT"


def _merged(given: dict[str, Any], row: dict[str, Any], typed: set[str]) -> dict[str, Any]:
    """Return the options of a file, under those that were typed."""
    said = {"offers" if key == "offer" else key for key in typed}
    merged = {**given, **{key: value for key, value in row.items() if key not in said and key != "limits"}}
    told = {name: value for name, value in row.get("limits", {}).items() if name not in typed}
    return {**merged, "limits": {**given["limits"], **told}}


def _reload(gateway: Any, settings: Any) -> None:
    """Read the settings again; wrong ones change nothing."""
    try:
        found = settings()
    except SatisficeError as error:
        log.warning("the settings were not changed: %s", error)
        return
    gateway.configure(found)
    log.warning("the settings were read again and hold from the next request on")


def _say_what_is_there(gateway: Any) -> None:
    """Print which upstreams cannot be used and why, and which policies do not fit those that can."""
    from satisfice.catalog import canonical, check_fit

    for source in gateway.sources.all:
        if source.engine is None:
            lasts = "It is not tried again: mend this and start anew." if source.permanent else "It is tried again."
            err_console.print(f"[yellow]{source.name} cannot be used: {source.problem} {lasts}[/]", highlight=False)
            continue
        for label, policy in {"policy": gateway.settings.policy, **gateway.settings.offers}.items():
            try:
                check_fit([policy], source.engine.name, source.engine.provides)
            except SatisficeError as error:
                said = f"{source.name}: {label} {canonical(policy)} does not fit: {error}"
                err_console.print(f"[yellow]{said}[/]", highlight=False)


def _keep_what_is_loaded() -> None:
    """Take libraries and models out of the garbage collector, which looks through them for as long as ten tokens."""
    gc.collect()
    gc.freeze()


def _sources(upstreams: list[str], model: str | None, key_env: str) -> Any:
    from satisfice.gateway.upstream import Source, Sources, http_source

    if bool(upstreams) == (model is not None):
        raise BadInput("serve: give either --upstream URL (one or more) or --model NAME.")
    if model is None:
        return Sources([http_source(address, key_env=key_env) for address in upstreams])
    if model.startswith(("http://", "https://")):
        raise BadInput("serve: a server is given as --upstream.")
    from satisfice.cli.common import load

    engine = load(model)
    return Sources([Source(name=model, make=lambda: engine)])


def _offers(texts: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, spec = text.partition("=")
        if not equals or not name.strip():
            raise BadInput(f"offer must be NAME=POLICY, got {text!r}.")
        found[name.strip()] = spec
    return found
