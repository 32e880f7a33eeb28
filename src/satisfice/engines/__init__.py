"""Where tokens come from.

`load_engine` makes one by name; each engine lives in a module of its own, imported only when it is asked for.
"""

from typing import Any

from satisfice.core.engine import Engine
from satisfice.core.errors import MissingExtra
from satisfice.models.names import read_name, read_options

__all__ = ["load_engine"]


def load_engine(model: str = "pocket", **options: Any) -> Engine:
    """Return the engine for a model; `satisfice.models.names` has the grammar of names.

    - `pocket`, `smollm2`, or a folder with config, tokenizer and safetensors, and `MODEL+ADAPTER` with a LoRA adapter:
      in this process, on torch (`LocalEngine`), with options as in `FOLDER?dtype=bfloat16&device=cuda`;
    - `vllm:FOLDER`: in this process, on vLLM (`VllmEngine`), with options as in `vllm:FOLDER?dtype=float32`;
    - `http://...`: a server that speaks OpenAI's completions (`HttpEngine`), or with `?route=chat` one that has a chat
      route alone (`ChatEngine`); options may stand in the address, and win.

    Options are those of the engine.

    Raises:
        MissingExtra: what the engine needs is not installed.
        BadInput: there is no such model, or nobody answers at that address.
    """
    name = read_name(model)
    if name.engine == "http":
        try:
            from satisfice.engines.http.make import make_engine
        except ModuleNotFoundError as error:
            raise _missing(error, "the http engine", "http", {"aiohttp"}) from error
        return make_engine(model, **options)
    if name.engine == "vllm":
        try:
            from satisfice.engines.vllm import IN_NAME, VllmEngine
        except ModuleNotFoundError as error:
            raise _missing(error, "the vllm engine", "vllm", {"vllm", "torch", "transformers"}) from error
        return VllmEngine(name.model, **read_options(name.options, IN_NAME, "vllm:FOLDER"), **options)
    try:
        from satisfice.engines.local.engine import IN_NAME as LOCAL
        from satisfice.engines.local.engine import LocalEngine
    except ModuleNotFoundError as error:
        raise _missing(error, "the local engine", "local", {"torch", "transformers"}) from error
    return LocalEngine(name.model, **{**read_options(name.options, LOCAL, "the name of a model"), **options})


def _missing(error: ModuleNotFoundError, what: str, extra: str, packages: set[str]) -> Exception:
    return MissingExtra(what, extra) if error.name in packages else error
