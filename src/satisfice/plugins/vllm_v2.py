"""Our rules and filters inside vLLM's second model runner, as logits processors."""

from typing import Any

import torch
from vllm.v1.worker.gpu.sample.logits_processor.interface import LogitsProcessor

from satisfice.methods.sampling import Truncation
from satisfice.plugins.asked import asked, cut
from satisfice.plugins.steps import Asker, Steps
from satisfice.plugins.vllm_requests import asker_of, check_rule, words_of


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


class Stop(LogitsProcessor):  # type: ignore[misc]
    """Ends the thinking of a request by the rule that it names in `extra_args["satisfice"]`; others are left alone.

    Tokens stay on the device in this runner; where some request follows a rule, the newest of all are read once a step.

    Raises:
        ValueError: the server decodes speculatively: a rule would be asked about tokens that are not there yet.
    """

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        if vllm_config.speculative_config is not None:
            raise ValueError(
                "satisfice.plugins.vllm:Stop asks its rules about each token before the next is drawn, and with "
                "speculative decoding several are. Start the server without one of them."
            )
        self._steps, self._states = Steps(words_of(vllm_config)), req_states
        self._waiting: dict[int, Any] = {}  # parameters by slot, until the prompt is on the device

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose rule cannot be read, or cannot run inside this server."""
        check_rule(sampling_params)

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Take over a slot; whether its request follows a rule."""
        self._steps.remove(req_idx)
        self._waiting.pop(req_idx, None)
        follows = asker_of(sampling_params, [], [], self._steps.words) is not None
        if follows:
            self._waiting[req_idx] = sampling_params
        return follows

    def apply(self, logits: torch.Tensor, ctx: Any) -> torch.Tensor:
        """Raw scores `[rows, vocab]`, changed where a rule wants something."""
        steps, states = self._steps, self._states
        slots = [int(slot) for slot in ctx.idx_mapping_np]
        mine = {slot: line for line, slot in enumerate(slots) if slot in self._waiting or slot in steps.askers}
        if not mine:
            return logits
        newest, places = torch.stack((ctx.input_ids, ctx.pos)).tolist(), dict[int, int]()
        for slot, line in mine.items():
            prompt = int(states.prompt_len.np[slot])
            have = newest[1][line] + 1 - prompt  # tokens of output
            if have < 0:
                continue  # the prompt is read in parts, and nothing is drawn yet
            if slot in self._waiting:
                ids = states.all_token_ids.gpu[slot, :prompt].tolist()
                asker = asker_of(self._waiting.pop(slot), ids, [], steps.words)
                assert asker is not None
                steps.add(slot, asker)
            self._take(steps.askers[slot], slot, prompt, have, newest[0][line])
            places[slot] = line
        return steps.apply(logits, places)

    def _take(self, asker: Asker, slot: int, prompt: int, have: int, newest: int) -> None:
        """Bring a request's output up to date."""
        output: Any = asker.output
        if have == len(output) + 1:
            output.append(newest)
        elif have != len(output):
            output[:] = self._states.all_token_ids.gpu[slot, prompt : prompt + have].tolist()
