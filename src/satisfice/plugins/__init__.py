"""Our methods inside other people's servers, given to them as the path of a class; nothing is registered on install.

Stopping rules that need only what a sampler sees (`satisfice.plugins.vllm:Stop`, `satisfice.plugins.transformers.Stop`)
and truncation filters. For vLLM's filters the class depends on which model runner is used: `vllm_path()` says it.

    vllm serve MODEL --logits-processors satisfice.plugins.vllm:Stop
    curl ... -d '{"vllm_xargs": {"satisfice": "first-cue"}, ...}'

    vllm serve MODEL --logits-processors $(python -c "import satisfice.plugins as a; print(a.vllm_path())")
    curl ... -d '{"vllm_xargs": {"sampler": "top-n-sigma:1"}, "temperature": 1.5, ...}'
"""

import importlib.util
import os
from typing import Literal

from satisfice.core.errors import MissingExtra

__all__ = ["vllm_path", "vllm_runner"]


def vllm_runner() -> Literal["v1", "v2"]:
    """Return which of its two model runners the installed vLLM uses: each has an interface of its own.

    `VLLM_USE_V2_MODEL_RUNNER=0` chooses the old runner, also for this function; so set it for both.

    Raises:
        MissingExtra: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtra("the plug-in for vLLM", "vllm")
    new = importlib.util.find_spec("vllm.v1.worker.gpu.sample.logits_processor.interface") is not None
    chosen = os.environ.get("VLLM_USE_V2_MODEL_RUNNER")
    if new and chosen is None:  # vLLM's own choice: without Triton, so on most CPUs, there is the old runner only
        from vllm.triton_utils import HAS_TRITON

        new = bool(HAS_TRITON)
    return "v2" if new and chosen != "0" else "v1"


def vllm_path() -> str:
    """Return the path of the truncation class for the vLLM that is installed, as `--logits-processors` takes it.

    Raises:
        MissingExtra: vLLM is not installed.
    """
    return f"satisfice.plugins.vllm_{vllm_runner()}:Truncate"
