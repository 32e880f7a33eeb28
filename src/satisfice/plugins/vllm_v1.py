"""Our filters inside vLLM's first model runner: give `satisfice.plugins.vllm_v1:Truncate` as a logits processor."""

from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor, MoveDirectionality

from satisfice.methods.sampling import Truncation
from satisfice.plugins.asked import asked, cut, moved


class Truncate(LogitsProcessor):  # type: ignore[misc]
    """Applies the filters that a request names in `extra_args["sampler"]`; other requests are left alone.

    It says that it never changes the likeliest token. That is true of all filters but `typical`, and it is what makes
    vLLM call it after the temperature, for sampled requests only, before its own top-k and top-p.
    """

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._wanted: dict[int, Truncation] = {}  # by row

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose filters cannot be read."""
        asked(sampling_params)

    def is_argmax_invariant(self) -> bool:
        """Return whether greedy requests may skip it."""
        return True

    def update_state(self, batch_update: Any) -> None:
        """Follow requests as they come, go and move between rows."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._wanted.pop(row, None)
        for row, params, _, _ in batch_update.added:
            truncation = asked(params)
            self._wanted.pop(row, None)
            if truncation is not None:
                self._wanted[row] = truncation
        moved(self._wanted, [(a, b, kind is MoveDirectionality.SWAP) for a, b, kind in batch_update.moved])

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Scores `[requests, vocab]`, tempered, with -inf where a request's filters cut."""
        return cut(logits, self._wanted, tempered=True) if self._wanted else logits
