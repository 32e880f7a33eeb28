"""verl's reward manager that says right or wrong and nothing about length: `reward.reward_manager.name=satisfice`.

Our own agent loop judges by itself; this is for verl's other loops, and for training with verl's own trainers.
"""

from typing import Any

from verl.experimental.reward_loop.reward_manager import register
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
from verl.utils.fs import copy_to_local

from satisfice.answers import extract_strict
from satisfice.core.problem import Verdict
from satisfice.training.verl.batch import reward_of
from satisfice.training.verl.judging import RowJudge, Score, problem_of
from satisfice.training.verl.server import words_of


@register("satisfice")
class VerdictManager(RewardManagerBase):
    """Judges one rollout at a time, by the user's own function where there is one."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Score | None = None, **rest: Any) -> None:
        own = config.reward.custom_reward_function.path is not None
        super().__init__(config, tokenizer, compute_score)
        self.words, self.profile = words_of(
            copy_to_local(config.actor_rollout_ref.model.path), config.algorithm.get("profile")
        )
        self.judge = RowJudge(self.profile, compute_score if own else None)

    async def run_single(self, data: Any) -> dict[str, Any]:
        row = data[-1:][0]
        width = row.batch["responses"].shape[-1]
        there = row.batch["attention_mask"][-width:].bool()
        ids = row.batch["responses"][there].tolist()
        text = self.words.decode([i for i in ids if i not in self.words.end_ids])
        problem = problem_of(row.non_tensor_batch)
        if self.judge.has_score:
            verdict, more = await self.judge.scored(problem, text)
        else:
            _, closed, visible = text.partition(self.profile.think_close)
            answer = extract_strict(visible, self.profile.answer_form) if closed else None
            verdict, more = await self.judge.verdict(problem, answer), {}
        truncated = not ids or ids[-1] not in self.words.end_ids
        return {
            "reward_score": reward_of(verdict, truncated),
            "reward_extra_info": {"acc": float(verdict is Verdict.RIGHT), "truncated": float(truncated), **more},
        }
