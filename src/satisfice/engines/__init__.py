"""Where tokens come from.

`load_engine` makes one by name; each engine lives in a module of its own, imported only when it is asked for.
"""

from typing import Any

from satisfice.core.engine import Engine
from satisfice.core.errors import MissingExtra

__all__ = ["load_engine"]


def load_engine(model: str = "pocket", **options: Any) -> Engine:
    """The engine for a model: `pocket` (bundled), or a folder with config, tokenizer and safetensors.

    Options are those of `LocalEngine` (`rows`, `batch`, `max_length`, `dtype`, `device`, `profile`).
    """
    try:
        from satisfice.engines.local import LocalEngine
    except ModuleNotFoundError as error:
        if error.name in {"torch", "transformers"}:
            raise MissingExtra("the local engine", "local") from error
        raise
    return LocalEngine(model, **options)
