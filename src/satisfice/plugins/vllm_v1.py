"""Our rules and filters inside vLLM's first model runner, as logits processors."""

from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor, MoveDirectionality

from satisfice.methods.sampling import Truncation
from satisfice.plugins.asked import asked, cut, moved
from satisfice.plugins.steps import Steps
from satisfice.plugins.vllm_requests import Departed, asker_of, check_rule, words_of


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


class Stop(LogitsProcessor):  # type: ignore[misc]
    """Ends the thinking of a request by the rule that it names in `extra_args["satisfice"]`; others are left alone.

    vLLM shows a processor the tokens that have come only where it was named on the command line. A request that was
    preempted goes on where it was. With speculative decoding vLLM itself refuses processors of this runner.
    """

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._steps = Steps(words_of(vllm_config))
        self._departed = Departed()

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose rule cannot be read, or cannot run inside this server."""
        check_rule(sampling_params)

    def is_argmax_invariant(self) -> bool:
        """Return whether greedy requests may skip it."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow requests as they come, go and move between rows."""
        if batch_update is None:
            return
        steps, departed = self._steps, self._departed
        for row in batch_update.removed:
            departed.put(steps.remove(row))
        for row, params, prompt, output in batch_update.added:
            departed.put(steps.remove(row))
            asker = asker_of(params, prompt or [], output, steps.words)
            if asker is not None:
                steps.add(row, asker, departed.take(asker))
        for source, target, kind in batch_update.moved:
            steps.move(source, target, swap=kind is MoveDirectionality.SWAP)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Raw scores `[requests, vocab]`, changed where a rule wants something."""
        return self._steps.apply(logits)
