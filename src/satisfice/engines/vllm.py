"""vLLM in this process: its asynchronous engine, with paged caches, shared prefixes and aborts.

A chain lives here: every call of `sample` hands the engine all tokens so far, and its prefix cache makes that cheap. A
call that stops aborts its request, so vLLM computes at most the step that is under way. Draws are vLLM's own, seeded
from the chain's key and position: the same for the same batch, alike in distribution otherwise; greedy chains are equal
up to ties.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from types import TracebackType
from typing import Any, Self

os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # read when vLLM is imported

import numpy as np
import vllm
from numpy.typing import NDArray
from vllm import SamplingParams
from vllm.config.reasoning import ReasoningConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from satisfice.core.card import Need
from satisfice.core.engine import Request, random_key
from satisfice.core.errors import BadInput, EngineError, Unfit
from satisfice.core.profile import Profile, named_profile
from satisfice.engines.checks import check_prompt
from satisfice.engines.collector import Collector, Token, top_wanted
from satisfice.engines.stateless import ComputedPrefix, StatelessSequence, computed_again
from satisfice.models.resolve import check_folder, model_folder, weights_mark
from satisfice.models.words import TokenizerWords

IN_NAME: Mapping[str, type] = {"dtype": str, "profile": str, "batch": int, "max_length": int}
TOP = 20  # likeliest tokens a position that may be asked for


class VllmEngine:
    """Runs a model from a folder (or a bundled one by name) on vLLM.

    It starts on entering, which takes vLLM half a minute or more, and ends on leaving. `batch` is how many chains
    advance at once. `dtype="auto"` leaves the precision to vLLM, which halves float32 weights; to compare with another
    engine say `float32` or `bfloat16` to both. `arguments` are further arguments of vLLM's `AsyncEngineArgs`.

    Raises:
        BadInput: the folder holds no model.
    """

    name = "vllm"
    provides = frozenset(
        {Need.FORK, Need.INJECT, Need.ABORT, Need.LOGPROBS, Need.TOP_LOGPROBS, Need.BUDGET, Need.RENDER}
    )
    upstream = None

    def __init__(
        self,
        model: str = "pocket",
        *,
        profile: Profile | str | None = None,
        batch: int = 256,
        max_length: int | None = None,
        dtype: str = "auto",
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        folder = model_folder(model)
        check_folder(folder)
        self.model_name, self._dtype, self._weights = model, dtype, weights_mark(folder)
        self._words = TokenizerWords(folder)
        given = named_profile(profile) if isinstance(profile, str) else profile
        self.profile = given or self._words.profile
        self.end_ids = self._words.end_ids
        self.encode, self.decode, self.piece = self._words.encode, self._words.decode, self._words.piece
        own: dict[str, Any] = {
            "model": str(folder), "dtype": dtype, "max_model_len": max_length, "max_num_seqs": batch,
            "enable_prefix_caching": True, "max_logprobs": TOP, "logprobs_mode": "raw_logprobs",
            "generation_config": "vllm", "disable_log_stats": True, "seed": 0,
            "reasoning_config": ReasoningConfig(
                reasoning_start_str=self.profile.think_open, reasoning_end_str=self.profile.think_close
            ),
        }  # fmt: skip
        if twice := own.keys() & (arguments or {}):
            raise BadInput(f"VllmEngine: {', '.join(sorted(twice))} cannot be set through arguments.")
        try:
            self._arguments = AsyncEngineArgs(**own, **(arguments or {}))
            self._config = self._arguments.create_engine_config()
        except (TypeError, ValueError) as error:
            raise BadInput(f"vLLM does not take this model or these arguments: {error}") from error
        self.max_length = int(self._config.model_config.max_model_len)
        self._vocab = int(self._config.model_config.get_vocab_size())
        self._llm: AsyncLLM | None = None
        self._numbers = itertools.count()

    def open(self, question: str, label: str) -> StatelessSequence:
        sequence = self.open_prompt(self.render(question), label)
        check_prompt(sequence.ids, label, self.max_length, answer=self.profile.answer_tokens)
        return sequence

    def open_prompt(self, prompt: str | list[int], label: str) -> StatelessSequence:
        ids = self._words.encode(prompt) if isinstance(prompt, str) else list(prompt)
        check_prompt(ids, label, self.max_length)
        self._check_tokens(ids)
        return StatelessSequence(self, ids)

    def render(self, question: str) -> str:
        return self._words.render(question, self.profile)

    async def render_chat(self, messages: list[dict[str, Any]], variables: Mapping[str, Any] | None = None) -> str:
        return self._words.render_chat(messages, self.profile, variables)

    def unembedding(self) -> NDArray[np.float32]:
        raise Unfit("vLLM keeps the output matrix to itself. Use the local engine.")

    def describe(self) -> dict[str, Any]:
        model = self._config.model_config
        return {
            "engine": self.name, "model": self.model_name, "weights": self._weights, "dtype": str(model.dtype),
            "vllm": vllm.__version__,
        }  # fmt: skip

    async def __aenter__(self) -> Self:
        self._llm = AsyncLLM.from_engine_args(self._arguments)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            await asyncio.to_thread(llm.shutdown)  # waits for vLLM's processes

    async def outputs(self, ids: list[int], take: Collector, request: Request) -> AsyncGenerator[RequestOutput, None]:
        """Yield what vLLM samples after `ids`, as it comes; leaving the generator aborts the request."""
        if self._llm is None:
            raise EngineError("the engine was closed")
        parameters = SamplingParams(
            temperature=request.temperature, top_p=request.top_p, max_tokens=take.left,
            seed=random_key(request.key, len(ids)) >> 33, stop_token_ids=sorted(request.stop_ids),
            logit_bias=dict(request.bias) or None, thinking_token_budget=request.thinking_budget,
            logprobs=take.top_wanted if take.top_wanted or take.logprobs_wanted else None,
            ignore_eos=True, detokenize=False, output_kind=RequestOutputKind.DELTA,
        )  # fmt: skip
        prompt = {"type": "token", "prompt_token_ids": list(ids)}
        outputs = self._llm.generate(prompt, parameters, f"satisfice-{next(self._numbers)}")
        async with contextlib.aclosing(outputs):
            async for output in outputs:
                yield output

    def refuse(self, request: Request) -> None:
        """Raise `EngineError` for what vLLM does not give."""
        wanted = request.signals.needs - self.provides
        if wanted or request.sampler is not None or (request.watch and request.watch.signal == "entropy"):
            raise EngineError(
                f"vLLM does not give {', '.join(sorted(wanted)) or 'this'}: samplers, entropy and hidden states need "
                "the local engine"
            )
        if (top := top_wanted(request)) > TOP:
            raise EngineError(f"{top} likeliest tokens were asked for; this engine gives up to {TOP}")
        self._check_tokens(request.bias)

    async def fill(self, take: Collector, request: Request, computed: ComputedPrefix) -> None:
        """Take tokens until the call is over."""
        begin, finish = len(take.ids), None
        self._check_tokens(take.ids)  # one that vLLM does not know ends its process
        async with contextlib.aclosing(self.outputs(take.ids, take, request)) as outputs:
            async for output in outputs:
                if not take.count:  # the first: only now is it known that anything was computed, and what was not
                    take.prefilled = computed_again(computed.begin(), begin, output.num_cached_tokens or 0)
                (part,) = output.outputs
                told = part.logprobs or [None] * len(part.token_ids)
                for i, logprobs in zip(part.token_ids, told, strict=True):
                    if take.reason is None:
                        take.add(_token(int(i), logprobs))
                computed.end(len(take.ids))
                finish = part.finish_reason
                if take.reason is not None:
                    return
        raise EngineError(f"vLLM ended the answer by itself ({finish}) after {take.count} tokens")

    def _check_tokens(self, ids: Iterable[int]) -> None:
        if strange := [i for i in ids if not 0 <= i < self._vocab]:
            raise BadInput(f"token {strange[0]} is none of the model's, which has {self._vocab}.")


def _token(i: int, logprobs: Any) -> Token:
    """Return a token with what vLLM tells about its position: `{id: Logprob}`, the sampled one among them."""
    if not logprobs:
        return Token(id=i)
    ordered = sorted(((float(entry.logprob), int(other)) for other, entry in logprobs.items()), reverse=True)
    return Token(id=i, logprob=float(logprobs[i].logprob), top=tuple(ordered))
