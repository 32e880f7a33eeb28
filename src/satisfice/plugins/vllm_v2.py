"""Our filters inside vLLM's second model runner: give `satisfice.plugins.vllm_v2:Truncate` as a logits processor."""

from typing import Any

import torch
from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcessor

from satisfice.methods.sampling import Truncation
from satisfice.plugins.asked import asked, cut


class Truncate(LogitsProcessor):  # type: ignore[misc]
    """Applies the filters that a request names in `extra_args["sampler"]`; other requests are left alone.

    This runner calls it before the temperature, so the filters measure on scores that are tempered for them alone.
    """

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        self._wanted: dict[int, Truncation] = {}  # by slot

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose filters cannot be read."""
        asked(sampling_params)

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Take over a slot; whether its request wants filters."""
        truncation = asked(sampling_params)
        self._wanted.pop(req_idx, None)
        if truncation is not None:
            self._wanted[req_idx] = truncation
        return truncation is not None

    def apply(self, logits: torch.Tensor, ctx: Any) -> torch.Tensor:
        """Scores `[rows, vocab]`, not tempered, with -inf where the filters of a row's request cut."""
        if not any(int(slot) in self._wanted for slot in ctx.idx_mapping_np):
            return logits  # told from the host's copy, without waiting for the device
        slots = ctx.expanded_idx_mapping.tolist()
        return cut(logits, {row: self._wanted[s] for row, s in enumerate(slots) if s in self._wanted}, tempered=False)
