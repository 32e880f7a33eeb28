"""The command that runs the gateway."""

import gc
import logging
import os
from typing import Annotated, Any

import typer

from satisfice.cli import complete
from satisfice.cli.common import err_console
from satisfice.cli.options import names
from satisfice.core.errors import BadInput, MissingExtra

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def serve(
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
        typer.Option(help="The rule for requests that do not name one.", autocompletion=complete.methods_of("policy")),
    ] = "full",
    offer: Annotated[
        list[str] | None, typer.Option(help="NAME=POLICY that requests may name; files are allowed here only.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen at. Default: this machine only.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8080,
    name: Annotated[str | None, typer.Option(help="What the model is called. Default: its own name.")] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Variable with the keys, commas between them, that requests must carry.")
    ] = None,
    upstream_key_env: Annotated[
        str, typer.Option(help="Variable with the key for the upstream.")
    ] = "SATISFICE_API_KEY",
    reasoning: Annotated[str, typer.Option(help="reasoning, reasoning_content or both.")] = "reasoning",
    shadow: Annotated[bool, typer.Option("--shadow", help="Answer untouched; say what the rule would save.")] = False,
    control: Annotated[float, typer.Option(help="Share of requests without a rule, to measure savings.")] = 0.0,
    max_tokens: Annotated[int | None, typer.Option(help="Longest chain. Default: the model's own.")] = None,
    max_chains: Annotated[int, typer.Option(help="Chains of one request.", min=1)] = 64,
    max_seconds: Annotated[float, typer.Option(help="Then thinking is closed and the answer is written.")] = 600.0,
    max_body: Annotated[int, typer.Option(help="Bytes of a request.", min=1)] = 1 << 20,
    at_once: Annotated[int, typer.Option(help="Requests at once.", min=1)] = 256,
    at_once_per_key: Annotated[int, typer.Option(help="Of these, with one key.", min=1)] = 128,
    tokens_per_minute: Annotated[int | None, typer.Option(help="Sampled for one key.", min=1)] = None,
    slow_s: Annotated[float, typer.Option(help="Disconnect clients that read nothing for this long (seconds).")] = 60.0,
    drain_s: Annotated[int, typer.Option(help="Time for running requests when the server is stopped.", min=0)] = 30,
    log_requests: Annotated[bool, typer.Option("--log-requests", help="One line a request; never its text.")] = False,
) -> None:
    """Stop any reasoning model at the right time, behind OpenAI's interface."""
    try:
        import uvicorn

        from satisfice.gateway.app import create_app
        from satisfice.gateway.settings import Limits, Settings
    except ModuleNotFoundError as error:
        if error.name in {"uvicorn", "prometheus_client", "pydantic", "starlette"}:
            raise MissingExtra("satisfice serve", "serve") from error
        raise
    from satisfice.catalog import build

    if reasoning not in ("reasoning", "reasoning_content", "both"):
        raise BadInput(f"reasoning must be reasoning, reasoning_content or both, got {reasoning!r}.")
    settings = Settings(
        policy=build(policy, allow_files=True), offers=_offers(offer or []), reasoning=reasoning,  # type: ignore[arg-type]
        shadow=shadow, control=control, keys=_keys(api_key_env), slow_s=slow_s,
        limits=Limits(
            tokens=max_tokens, chains=max_chains, seconds=max_seconds, body=max_body, at_once=at_once,
            at_once_per_key=at_once_per_key, tokens_per_minute=tokens_per_minute,
        ),
    )  # fmt: skip
    if host not in LOOPBACK and not settings.keys:
        err_console.print("[yellow]Anybody who reaches this address may use it: give --api-key-env.[/]")
    app = create_app(
        _sources(upstream or [], model, upstream_key_env), settings, name=name, when_open=_keep_what_is_loaded
    )
    logging.basicConfig(level=logging.INFO if log_requests else logging.WARNING, format="%(asctime)s %(message)s")
    err_console.print(f"satisfice serves at http://{host}:{port}, its page included.", highlight=False)
    uvicorn.run(
        app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=drain_s,
        server_header=False, h11_max_incomplete_event_size=65_536,
    )  # fmt: skip


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


def _offers(texts: list[str]) -> dict[str, Any]:
    from satisfice.catalog import build

    found: dict[str, Any] = {}
    for text in texts:
        name, equals, spec = text.partition("=")
        if not equals or not name.strip():
            raise BadInput(f"offer must be NAME=POLICY, got {text!r}.")
        found[name.strip()] = build(spec, allow_files=True)
    return found


def _keys(variable: str | None) -> tuple[str, ...]:
    if variable is None:
        return ()
    keys = names(os.environ.get(variable, ""))
    if not keys:
        raise BadInput(f"api-key-env: the variable {variable} is not set, so nobody could come in. Set it.")
    return tuple(keys)
