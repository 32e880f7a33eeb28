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
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Self

os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # read when vLLM is imported

import vllm
from vllm import SamplingParams
from vllm.config.reasoning import ReasoningConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.outputs import RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM

from satisfice.core.card import Need
from satisfice.core.engine import Request, Sampled, random_key
from satisfice.core.errors import BadInput, EngineError
from satisfice.core.profile import Profile, named_profile
from satisfice.engines.collect import Collector, Token
from satisfice.engines.local.engine import check_folder, model_folder, weights_mark
from satisfice.engines.prefix import Past, computed_again
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
    provides = frozenset({Need.FORK, Need.INJECT, Need.ABORT, Need.LOGPROBS, Need.TOP_LOGPROBS, Need.BUDGET})

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
        self._llm: AsyncLLM | None = None
        self._numbers = itertools.count()

    def open(self, question: str, label: str) -> "VllmSequence":
        ids = self._words.encode(self._words.render(question, self.profile))
        if len(ids) + self.profile.answer_tokens >= self.max_length:
            raise BadInput(
                f"{label}: the question takes {len(ids)} tokens, which leaves no room within max_length="
                f"{self.max_length} for an answer of {self.profile.answer_tokens}. Shorten it."
            )
        return VllmSequence(self, ids, Past(len(ids)))

    def encode(self, text: str) -> list[int]:
        return self._words.encode(text)

    def decode(self, ids: list[int]) -> str:
        return self._words.decode(ids)

    def piece(self, token: int) -> bytes:
        return self._words.piece(token)

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
        """What vLLM samples after `ids`, as it comes; leaving the generator aborts the request."""
        if self._llm is None:
            raise EngineError("the engine was closed")
        parameters = SamplingParams(
            temperature=request.temperature, top_p=request.top_p, max_tokens=request.limit,
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


class VllmSequence:
    """One sequence of a `VllmEngine`."""

    def __init__(self, engine: VllmEngine, ids: list[int], past: Past) -> None:
        self._engine, self._past, self.ids = engine, past, ids
        self.last: Sampled | None = None

    def fork(self, length: int) -> "VllmSequence":
        return VllmSequence(self._engine, self.ids[:length], self._past.fork(length))

    def extend(self, ids: list[int]) -> None:
        self.ids.extend(ids)

    def cut(self, length: int) -> None:
        del self.ids[length:]
        self._past.cut(length)

    async def sample(self, request: Request) -> Sampled:
        wanted = request.signals.needs - self._engine.provides
        if wanted or request.sampler is not None or (request.watch and request.watch.signal == "entropy"):
            raise EngineError(
                f"vLLM does not give {', '.join(sorted(wanted)) or 'this'}: samplers, entropy and hidden states need "
                "the local engine"
            )
        take = Collector(self.ids, request, self._engine.decode)
        if take.top_wanted > TOP:
            raise EngineError(f"{take.top_wanted} likeliest tokens were asked for; this engine gives up to {TOP}")
        try:
            await self._stream(take, request)
        finally:
            self.last = take.result()
        return self.last

    def close(self) -> None:
        return None

    async def _stream(self, take: Collector, request: Request) -> None:
        begin, finish = len(self.ids), None
        async with contextlib.aclosing(self._engine.outputs(self.ids, take, request)) as outputs:
            async for output in outputs:
                if not take.count:  # the first: only now is it known that anything was computed, and what was not
                    take.prefilled = computed_again(self._past.begin(), begin, output.num_cached_tokens or 0)
                (part,) = output.outputs
                told = part.logprobs or [None] * len(part.token_ids)
                for i, logprobs in zip(part.token_ids, told, strict=True):
                    if take.reason is None:
                        take.add(_token(int(i), logprobs))
                self._past.end(len(self.ids))
                finish = part.finish_reason
                if take.reason is not None:
                    return
        raise EngineError(f"vLLM ended the answer by itself ({finish}) after {take.count} tokens")


def _token(i: int, logprobs: Any) -> Token:
    """A token with what vLLM tells about its position: `{id: Logprob}`, the sampled one among them."""
    if not logprobs:
        return Token(id=i)
    ordered = sorted(((float(entry.logprob), int(other)) for other, entry in logprobs.items()), reverse=True)
    return Token(id=i, logprob=float(logprobs[i].logprob), top=tuple(ordered))
