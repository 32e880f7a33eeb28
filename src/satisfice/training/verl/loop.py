"""verl's agent loop for our rollouts: plain ones under a cap, under a stop rule, or steered by the shaper.

`actor_rollout_ref.rollout.agent.default_agent_loop=satisfice`. With `+algorithm.policy="fixed-budget:96"` (any stop
rule whose needs a server can meet) every rollout is made by that rule; what it injects is kept out of the loss.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput, register
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.fs import copy_to_local
from verl.utils.profiler import simple_timer

from satisfice.catalog import build, check_fit
from satisfice.core.engine import random_key
from satisfice.core.problem import Problem, Verdict
from satisfice.core.session import Policy, Session
from satisfice.core.shaper import SHAPER, State
from satisfice.core.steering import Right, Rolled, Steering
from satisfice.training.rollout import Ask, AskGroup, Rollout, sample, steer
from satisfice.training.verl.batch import reward_of
from satisfice.training.verl.judging import RowJudge, problem_of
from satisfice.training.verl.server import ServerEngine, words_of

NAME = "satisfice"
LIMIT, STATE = "satisfice_limit", "satisfice_state"
"""What our trainer writes beside each prompt: the cap of its rollouts, and what a steering shaper remembers."""


class JudgedOutput(AgentLoopOutput):
    """A rollout with its own verdict. verl gives all rollouts of one session the verdict of the last."""

    own_reward: float
    own: dict[str, Any]  # verdict, columns, ...: what the trainer reads

    def as_dict(self) -> dict[str, Any]:
        """verl's fields, with our reward at the last token."""
        row: dict[str, Any] = super().as_dict()
        row.pop("own_reward")
        own = row.pop("own")
        rewards = row["response_mask"].float() * 0.0
        rewards[-1:] = self.own_reward
        row["rm_scores"] = rewards
        extra = dict(row["extra_fields"])
        row["extra_fields"] = {**extra, NAME: own, "reward_extra_info": {"acc": own["acc"], "tokens": own["length"]}}
        return row


class ByPolicy:
    """A stop rule as a maker of rollouts, one at a time."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.makes = policy, frozenset[str]()

    async def roll(self, session: Session, size: int, right: Right, state: State, /) -> Sequence[Rolled]:
        """Return the chain that the rule returns."""
        return [Rolled(chain=await self.policy(session))]


@register(NAME)
class ShapedLoop(AgentLoopBase):
    """Makes the rollouts of one session: one, or a whole group where the shaper steers."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> list[AgentLoopOutput]:
        problem = problem_of(row)
        engine = await self._engine(row, problem, sampling_params)
        judge = RowJudge(engine.profile, get_custom_reward_fn(self.config))
        times: dict[str, float] = {}
        with simple_timer("generate_sequences", times):
            rollouts = await self._rolled(engine, problem, judge, row, float(sampling_params["temperature"]))
        if judge.has_score:
            rollouts = [await _scored(rollout, engine, judge) for rollout in rollouts]
        return [self._output(rollout, engine, times) for rollout in rollouts]

    async def _engine(self, row: Mapping[str, Any], problem: Problem, params: Mapping[str, Any]) -> ServerEngine:
        rollout, model = self.rollout_config, self.config.actor_rollout_ref.model
        words, profile = words_of(copy_to_local(model.path), self.config.algorithm.get("profile"))
        prompt = list(await self.ct_build_initial_tokens(list(row["raw_prompt"])))
        text = words.decode(prompt)
        opened = profile.opened(text)
        prompt = prompt + words.encode(opened[len(text) :]) if opened.startswith(text) else words.encode(opened)
        return ServerEngine(
            self.server_manager, words, profile, prompt=prompt, question=problem.question,
            max_length=len(prompt) + rollout.response_length, settings=params,
            seeded=bool(rollout.full_determinism) or rollout.name == NAME,
        )  # fmt: skip

    async def _rolled(
        self, engine: ServerEngine, problem: Problem, judge: RowJudge, row: Mapping[str, Any], temperature: float
    ) -> list[Rollout]:
        limit = min(int(row.get(LIMIT, self.rollout_config.response_length)), self.rollout_config.response_length)
        key = random_key(
            self.rollout_config.seed, problem.id, int(row.get("global_steps", 0)), int(row.get("session_id", 0))
        )
        algorithm = self.config.algorithm
        shaper = build(str(algorithm.shaper), SHAPER, allow_files=True) if algorithm.get("shaper") else None
        if isinstance(shaper, Steering) and STATE in row:
            size = int(self.rollout_config.n)
            asks = [AskGroup(problem=problem, group=0, size=size, limit=limit, seed=key)]
            return await steer(engine, asks, shaper, json.loads(row[STATE]), judge, temperature=temperature)
        if (spec := algorithm.get("policy")) is not None:
            policy = build(str(spec), allow_files=True)
            check_fit([policy], "verl's servers", engine.provides)
            asks = [AskGroup(problem=problem, group=0, size=1, limit=limit, seed=key)]
            return await steer(engine, asks, ByPolicy(policy), {}, judge, temperature=temperature)
        ask = Ask(problem=problem, group=0, limit=limit, key=key)
        return await sample(engine, [ask], judge, temperature=temperature)

    def _output(self, rollout: Rollout, engine: ServerEngine, times: Mapping[str, float]) -> AgentLoopOutput:
        length = self.rollout_config.response_length
        ids = list(rollout.ids[:length])
        mask = [int(i) for i in rollout.mask or (True,) * len(rollout.ids)][:length]
        own = {
            "verdict": rollout.verdict.value, "acc": float(rollout.verdict is Verdict.RIGHT),
            "truncated": rollout.truncated, "length": len(rollout.ids) - rollout.injected, "prompt": rollout.problem.id,
            "columns": {**_numbers(rollout.problem.metadata), **rollout.columns}, "spent": rollout.spent,
        }  # fmt: skip
        reward = reward_of(rollout.verdict, rollout.truncated)
        return JudgedOutput(
            prompt_ids=list(rollout.prompt), response_ids=ids, response_mask=mask, reward_score=reward, num_turns=2,
            metrics=AgentLoopMetrics(**times), own_reward=reward, own=own,
            extra_fields={
                "min_global_steps": min(engine.versions, default=None), "turn_scores": [], "tool_rewards": [],
                "max_global_steps": max(engine.versions, default=None), "reward_extra_info": {"acc": own["acc"]},
            },
        )  # fmt: skip


async def _scored(rollout: Rollout, engine: ServerEngine, judge: RowJudge) -> Rollout:
    """Return a copy of a rollout with the verdict and columns that the user's own function gives its whole text."""
    text = engine.decode([i for i in rollout.ids if i not in engine.end_ids])
    verdict, columns = await judge.scored(rollout.problem, text)
    return replace(rollout, verdict=verdict, columns={**rollout.columns, **columns})


def _numbers(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers in the metadata of a problem: columns for the shaper."""
    return {
        name: float(value)
        for name, value in metadata.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and name != "index"
    }
