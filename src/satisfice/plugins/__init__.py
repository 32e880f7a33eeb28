"""Our methods inside other people's servers, given to them as the path of a class; nothing is registered on install.

For vLLM the class depends on which model runner is used: `vllm_path()` says it for the installed version.

    vllm serve MODEL --logits-processors $(python -c "import satisfice.plugins as a; print(a.vllm_path())")
    curl ... -d '{"vllm_xargs": {"sampler": "top-n-sigma:1"}, "temperature": 1.5, ...}'
"""

import importlib.util
import os

from satisfice.core.errors import MissingExtra

__all__ = ["vllm_path"]


def vllm_path() -> str:
    """Return the path of the truncation class for the vLLM that is installed, as `--logits-processors` takes it.

    Two runners have two interfaces, and each refuses the other's classes. `VLLM_USE_V2_MODEL_RUNNER=0` chooses the old
    runner, also for this function; so set it for both.

    Raises:
        MissingExtra: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MissingExtra("the path for vLLM", "vllm")
    new = importlib.util.find_spec("vllm.v1.worker.gpu.sample.logits_processor.interface") is not None
    chosen = os.environ.get("VLLM_USE_V2_MODEL_RUNNER")
    if new and chosen is None:  # vLLM's own choice: without Triton, so on most CPUs, there is the old runner only
        from vllm.triton_utils import HAS_TRITON

        new = bool(HAS_TRITON)
    which = "v2" if new and chosen != "0" else "v1"
    return f"satisfice.plugins.vllm_{which}:Truncate"
