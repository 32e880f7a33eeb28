"""Rollouts for a trainer: from the local engine, or from TRL's own generation (transformers or vLLM)."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, Self, TypeVar

import torch

from satisfice.core.errors import Unfit
from satisfice.core.problem import Problem, Verdict
from satisfice.core.shaper import State
from satisfice.core.steering import Steering
from satisfice.engines.local.engine import LocalEngine
from satisfice.tasks.judge import Judging
from satisfice.training.adapter import plain_weights
from satisfice.training.rollout import Ask, AskGroup, Rollout, judged, sample, steer
from satisfice.training.segments import Growing, as_rollouts, grow

R = TypeVar("R")
ADDED = "satisfice_"
"""How the names of weights begin that a training adds to the model, and that are no part of what comes out."""


class LiveEngine(LocalEngine):
    """The local engine over weights that change: made from a folder, then kept like the model that is trained."""

    def take(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Copy these weights into the engine's own; only between batches, when it holds no sequence."""
        if self.rows_in_use:
            raise RuntimeError("the engine holds sequences that were computed with the weights it has")
        self._model.load_state_dict(weights)  # in place: what the engine fused are views of the same memory


class _Coroutines:
    """An event loop of one's own for code that is no coroutine, and what lives as long as it does."""

    def __init__(self) -> None:
        self._loop, self._stack = asyncio.new_event_loop(), AsyncExitStack()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        return self._loop.run_until_complete(work)

    def enter(self, *managers: Any) -> None:
        async def enter() -> None:
            for manager in managers:
                await self._stack.enter_async_context(manager)

        self.run(enter())

    def close(self) -> None:
        try:
            self.run(self._stack.aclose())
        finally:
            self._loop.close()


class LocalSource:
    """Rollouts from the local engine, in this process. Use it as a context manager.

    The engine's thread and the scorers live as long as it does; between batches they are at rest.
    """

    steers = True

    def __init__(self, engine: LocalEngine, judge: Judging, *, temperature: float = 1.0) -> None:
        self.engine, self.judge, self._temperature = engine, judge, temperature
        self._coroutines = _Coroutines()

    @property
    def brief_token(self) -> int:
        return self.engine.encode(self.engine.profile.skip_thinking)[0]

    def prompt(self, problem: Problem) -> tuple[int, ...]:
        async def read() -> tuple[int, ...]:
            base = self.engine.open(problem.question, problem.id)
            ids = tuple(base.ids)
            base.close()
            return ids

        return self._coroutines.run(read())

    def sample(self, asks: Sequence[Ask]) -> list[Rollout]:
        return self._coroutines.run(sample(self.engine, asks, self.judge, temperature=self._temperature))

    def steer(self, asks: Sequence[AskGroup], shaper: Steering, state: State) -> list[Rollout]:
        """Return groups as a steering shaper makes them."""
        return self._coroutines.run(steer(self.engine, asks, shaper, state, self.judge, temperature=self._temperature))

    def grow(self, rows: Sequence[Growing], problems: Mapping[str, Problem], segment: int) -> list[Growing]:
        """Let rollouts on their way grow by a segment."""
        return self._coroutines.run(grow(self.engine, rows, problems, segment, self._temperature))

    def grown(self, rows: Sequence[Growing], problems: Mapping[str, Problem]) -> list[Rollout]:
        """Return what a step trains on of them."""
        return self._coroutines.run(as_rollouts(self.engine, rows, problems, self.judge))

    def cut(self, rollout: Rollout, length: int) -> Rollout:
        return self.judged([_first(rollout, length)])[0]

    def judged(self, raw: Sequence[Rollout]) -> list[Rollout]:
        """Return rollouts that were sampled elsewhere, with verdicts and columns."""

        async def judge() -> list[Rollout]:
            return [await judged(rollout, self.engine, self.judge) for rollout in raw]

        return self._coroutines.run(judge())

    def update(self, model: Any) -> None:
        if isinstance(self.engine, LiveEngine):
            self._coroutines.run(_at_rest(self.engine))
            weights = plain_weights(model)
            self.engine.take({name: value for name, value in weights.items() if not name.startswith(ADDED)})

    def __enter__(self) -> Self:
        self._coroutines.enter(self.engine, self.judge)
        return self

    def __exit__(self, *error: object) -> None:
        self._coroutines.close()


class TrlSource:
    """Rollouts by TRL's own generation: transformers, or vLLM where `use_vllm` is set.

    One limit holds for a whole call, the largest that is asked for; longer answers are cut to their own limit
    afterwards. A local source reads prompts and judges answers; it never samples.
    """

    steers = False

    def __init__(self, local: LocalSource) -> None:
        self._local = local
        self.trainer: Any = None  # the trainer that generates; set once it is made

    @property
    def brief_token(self) -> int:
        return self._local.brief_token

    def prompt(self, problem: Problem) -> tuple[int, ...]:
        return self._local.prompt(problem)

    def sample(self, asks: Sequence[Ask]) -> list[Rollout]:
        trainer, engine = self.trainer, self._local.engine
        prompts = [engine.open(ask.problem.question, ask.problem.id).ids for ask in asks]
        limit = max(ask.limit for ask in asks)
        trainer.max_completion_length = limit
        if trainer.use_vllm:
            trainer.vllm_generation.max_completion_length = limit
        else:
            trainer.generation_config.max_new_tokens = trainer.generation_kwargs["max_new_tokens"] = limit
        answers, _ = trainer._generate_single_turn(prompts, None, {}, trainer.num_generations)
        raw = [
            Rollout(
                problem=ask.problem, group=ask.group, prompt=tuple(prompt), ids=tuple(ids[: ask.limit]),
                truncated=not ids or ids[min(len(ids), ask.limit) - 1] not in engine.end_ids,
                verdict=Verdict.UNKNOWN, columns={}, spent=len(ids),
            )
            for ask, prompt, ids in zip(asks, prompts, answers, strict=True)
        ]  # fmt: skip
        return self._local.judged(raw)

    def cut(self, rollout: Rollout, length: int) -> Rollout:
        return self._local.cut(rollout, length)

    def steer(self, asks: Sequence[AskGroup], shaper: Steering, state: State) -> list[Rollout]:
        raise Unfit("a shaper that decides while it samples needs our own engine: --rollouts local")

    def grow(self, rows: Sequence[Growing], problems: Mapping[str, Problem], segment: int) -> list[Growing]:
        raise Unfit("a shaper whose rollouts grow in segments needs our own engine: --rollouts local")

    def grown(self, rows: Sequence[Growing], problems: Mapping[str, Problem]) -> list[Rollout]:
        raise Unfit("a shaper whose rollouts grow in segments needs our own engine: --rollouts local")

    def update(self, model: Any) -> None:
        """Nothing to do: TRL generates with the model itself, or hands its weights on to vLLM."""


def _first(rollout: Rollout, length: int) -> Rollout:
    return replace(rollout, ids=rollout.ids[:length], truncated=False)


async def _at_rest(engine: LocalEngine) -> None:
    """Wait until the engine's thread has let go of the sequences that were closed."""
    async with asyncio.timeout(60):
        while engine.rows_in_use:  # noqa: ASYNC110 - the engine's thread has no event to wait for
            await asyncio.sleep(0.001)
