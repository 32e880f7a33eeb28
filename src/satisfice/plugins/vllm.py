"""Stopping rules inside vLLM: one name, whichever of its two model runners is used.

    vllm serve MODEL --logits-processors satisfice.plugins.vllm:Stop
    curl ... -d '{"vllm_xargs": {"satisfice": "deepconf-line(window=256, below=8)"}, ...}'

How the model thinks is read from its folder; `SATISFICE_PROFILE` names another profile, or a file with one.
"""

from satisfice.plugins import vllm_runner

if vllm_runner() == "v1":
    from satisfice.plugins.vllm_v1 import Stop
else:
    from satisfice.plugins.vllm_v2 import Stop  # type: ignore[assignment]

__all__ = ["Stop"]
