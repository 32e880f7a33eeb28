"""A transformers causal language model in this process, with continuous batching over asyncio."""

import asyncio
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForCausalLM

from satisfice.core.card import Need
from satisfice.core.engine import CONFIDENCE_OF, Request, Sampled
from satisfice.core.errors import BadInput, EngineError, Unfit
from satisfice.core.profile import Profile, named_profile
from satisfice.engines.checks import check_length, check_prompt, check_request, without_room
from satisfice.engines.local.batch import Job
from satisfice.engines.local.cache import ATTENTION
from satisfice.engines.local.kernel import Unavailable
from satisfice.engines.local.messages import Close, Cut, Fork, Message
from satisfice.engines.local.scheduler import Counters, Loop, run_job, wake_in
from satisfice.engines.local.sequence import SequenceState
from satisfice.models.resolve import check_folder, model_folder, weights_mark
from satisfice.models.words import TokenizerWords

IN_NAME: Mapping[str, type] = {
    "dtype": str, "device": str, "profile": str, "rows": int, "batch": int, "max_length": int, "cache_gib": float,
}  # fmt: skip


class LocalEngine:
    """Runs a model from a folder (or a bundled one by name) in a thread of its own.

    `rows` is how many chains the cache holds at most, `cache_gib` how much memory it may take, `batch` how many chains
    advance at once; what is beyond waits, and is computed again where it had to make room. `max_length` bounds a
    sequence, prompt included (default: what the model was made for). In float32 on a CPU a chain's tokens depend on
    its seed alone, not on its neighbours. `compiled` says whether a small model goes through C, which a compiler on
    this machine makes when it is first needed: None where that is possible, True or not at all, False through torch.
    """

    name = "local"
    upstream = None
    provides = frozenset(Need) - {Need.BUDGET}

    def __init__(
        self,
        model: str = "pocket",
        *,
        profile: Profile | str | None = None,
        rows: int = 128,
        batch: int = 96,
        max_length: int | None = None,
        cache_gib: float = 2.0,
        dtype: str = "float32",
        device: str = "cpu",
        compiled: bool | None = None,
    ) -> None:
        folder = model_folder(model)
        check_folder(folder)
        kind = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(dtype)
        if kind is None:
            raise BadInput(f"LocalEngine: dtype must be float32 or bfloat16, got {dtype!r}.")
        if rows < 1 or batch < 1:
            raise BadInput(f"LocalEngine: rows and batch must be at least 1, got {rows} and {batch}.")
        self.model_name, self._dtype, self._device = model, dtype, device
        self._weights = weights_mark(folder)
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        check_config(config, folder)
        self.words = TokenizerWords(folder)
        self.encode, self.decode, self.piece = self.words.encode, self.words.decode, self.words.piece
        model_: Any = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=kind, attn_implementation=ATTENTION, local_files_only=True,
            use_safetensors=True, trust_remote_code=False,
        )  # fmt: skip
        self._model = model_.to(device).eval()
        given = named_profile(profile) if isinstance(profile, str) else profile
        self.profile = given or self.words.profile
        self.max_length = min(max_length or config.max_position_embeddings, config.max_position_embeddings)
        self.end_ids = self.words.end_ids
        self._blocks: int = config.get_text_config().num_hidden_layers
        try:
            self._loop = Loop(
                self._model, self.decode, rows=rows, batch=batch, max_length=self.max_length,
                memory=int(cache_gib * 2**30), compiled=compiled,
            )  # fmt: skip
        except Unavailable as error:
            raise BadInput(
                f"LocalEngine: compiled=True, but {error}. Leave it out, and such a model goes through torch."
            ) from None
        if (least := self._loop.cache.widest_row) > cache_gib * 2**30:
            raise BadInput(
                f"LocalEngine: cache_gib={cache_gib} does not hold one chain of max_length={self.max_length}, which "
                f"takes {least / 2**30:.3f} GiB. Raise it or lower max_length."
            )
        self._outbox: list[Message] = []

    @property
    def counters(self) -> Counters:
        """What the engine really did since it was made."""
        return self._loop.counters

    @property
    def rows_in_use(self) -> int:
        """Cache rows that some sequence holds."""
        return len(self._loop.rows.taken)

    def open(self, question: str, label: str) -> "LocalSequence":
        sequence = self.open_prompt(self.render(question), label)
        check_prompt(sequence.ids, label, self.max_length, answer=self.profile.answer_tokens)
        return sequence

    def open_prompt(self, prompt: str | list[int], label: str) -> "LocalSequence":
        ids = self.encode(prompt) if isinstance(prompt, str) else list(prompt)
        check_prompt(ids, label, self.max_length)
        self.check_tokens(ids)
        return LocalSequence(self, SequenceState(ids, None))

    def render(self, question: str) -> str:
        return self.words.render(question, self.profile)

    async def render_chat(self, messages: list[dict[str, Any]], variables: Mapping[str, Any] | None = None) -> str:
        return self.words.render_chat(messages, self.profile, variables)

    def check_tokens(self, ids: Iterable[int]) -> None:
        """Refuse tokens that the model has no embedding of."""
        if strange := [i for i in ids if not 0 <= i < self._loop.vocab]:
            raise BadInput(f"token {strange[0]} is none of the model's, which has {self._loop.vocab}.")

    def check_request(self, request: Request) -> None:
        """Refuse what this model cannot answer: one call that fails in the loop would take all others with it."""
        check_request(request)
        if request.thinking_budget is not None:
            raise EngineError("this engine does not end thinking after a number of tokens by itself")
        self.check_tokens(request.bias)
        watch = request.watch
        most = max(request.signals.top_logprobs, CONFIDENCE_OF if watch and watch.signal == "confidence" else 0)
        if most > self._loop.vocab:
            raise BadInput(f"{most} likeliest tokens were asked for, and the model has {self._loop.vocab}.")
        blocks = self._blocks
        if strange := [layer for layer in request.signals.hidden if not -blocks - 1 <= layer <= blocks]:
            raise BadInput(f"layer {strange[0]} is none of the model's, which has 0 (the embedding) to {blocks}.")

    def unembedding(self) -> NDArray[np.float32]:
        """`Unfit` where scores are not just the matrix's product with the last hidden state."""
        head = self._model.get_output_embeddings()
        if getattr(head, "bias", None) is not None or getattr(self._model.config, "final_logit_softcapping", None):
            raise Unfit(f"{self.model_name} adds a bias to its scores or caps them: its output matrix is not enough.")
        matrix: NDArray[np.float32] = head.weight.detach().float().cpu().numpy()
        return matrix

    def describe(self) -> dict[str, Any]:
        return {
            "engine": self.name, "model": self.model_name, "weights": self._weights, "dtype": self._dtype,
            "device": self._device,
            "layers": self._blocks,
            "parameters": sum(p.numel() for p in self._model.parameters()), "torch": torch.__version__,
            "transformers": transformers.__version__, "threads": torch.get_num_threads(),
            "processor": platform.machine(), "compiled": self._loop.passes.mixed,
        }  # fmt: skip

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._loop.start()
        self._loop.tell = lambda calls: wake_in(loop, calls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self._loop.join)

    def post(self, message: Message) -> None:
        """Send a message to the loop together with all others of this turn of the event loop.

        Chains that start together thus begin at the same decode step.
        """
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append(message)

    def _flush(self) -> None:
        messages, self._outbox = self._outbox, []
        self._loop.post(*messages)


class LocalSequence:
    """One sequence of a `LocalEngine`."""

    def __init__(self, engine: LocalEngine, state: SequenceState) -> None:
        self._engine, self._state = engine, state
        self._sampling = self._closed = False
        self.last: Sampled | None = None

    @property
    def ids(self) -> list[int]:
        return self._state.ids

    def fork(self, length: int) -> "LocalSequence":
        check_length(length, self.ids)
        child = SequenceState(self._state.ids[:length], self._state.root)
        self._engine.post(Fork(child, self._state, length))
        return LocalSequence(self._engine, child)

    def extend(self, ids: list[int]) -> None:
        self._check_idle()
        self._engine.check_tokens(ids)
        self._state.ids.extend(ids)

    def cut(self, length: int) -> None:
        self._check_idle()
        check_length(length, self.ids)
        del self._state.ids[length:]
        self._engine.post(Cut(self._state, length))

    async def sample(self, request: Request) -> Sampled:
        self._check_idle()
        self._engine.check_request(request)
        if (nothing := without_room(self.ids, request, self._engine.max_length)) is not None:
            self.last = nothing
            return nothing
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle() -> None:
            if not done.done():
                done.set_result(None)

        job = Job(self._state, request, settle, loop, len(self._state.ids))
        self._sampling = True
        try:
            return await run_job(self._engine._loop, job, self._engine.post, done)
        finally:
            self._sampling, self.last = False, job.result

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._engine.post(Close(self._state))

    def _check_idle(self) -> None:
        """Refuse to touch what the loop works on: it would write where another chain's keys are."""
        if self._sampling:
            raise EngineError("the sequence is being sampled from; wait for that call, or fork the sequence")
        if self._closed:
            raise EngineError("the sequence was closed")


def check_config(config: Any, folder: Path) -> None:
    """Refuse architectures whose attention the local engine would compute wrongly."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ["full_attention"])
    window = getattr(text, "sliding_window", None) if getattr(text, "use_sliding_window", True) else None
    if kinds != {"full_attention"} or (window and getattr(text, "layer_types", None) is None):
        what = ", ".join(sorted(kinds - {"full_attention"})) or f"a sliding window of {window}"
        raise BadInput(
            f"model {folder} uses {what}; the local engine computes full attention only. Serve it with a server that "
            "knows this architecture."
        )
