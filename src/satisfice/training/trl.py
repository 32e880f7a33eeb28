"""Shapers inside TRL: its GRPO trainer with whole groups, advantages by token and a shaper's own loss.

Written against TRL 1.16. Three of its methods are overridden, and each says which of TRL's duties it takes over; a
canary test compares them with TRL's own on every release. Everything else (the optimiser, several processes, mixed
precision, checkpoints, PEFT, trackers) stays TRL's, Accelerate's and transformers'.
"""

import os
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback
from trl.trainer.grpo_config import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from satisfice.core.engine import random_key
from satisfice.core.errors import BadInput, Unfit
from satisfice.core.fit import require
from satisfice.core.loss_term import Tokens
from satisfice.core.problem import Problem, Verdict
from satisfice.core.rollouts import Floats, Rollouts
from satisfice.core.shaper import (  # fmt: skip
    Cutting,
    Monitoring,
    RewardRange,
    Shaped,
    Shaper,
    advance,
    caps_for,
    reads,
    reward_range,
    start,
    with_request,
)
from satisfice.core.steering import Replaying, Segmented, Steering
from satisfice.training.checkpoint import read_state, read_underway, write_state
from satisfice.training.replay import picked, silent_rows, with_memories
from satisfice.training.rollout import Ask, AskGroup, Rollout, as_row, batch_of, column_names
from satisfice.training.segments import Underway, grow_until
from satisfice.training.shares import COLUMN, empty_groups, weighed
from satisfice.training.signals import brief_chances, signals
from satisfice.training.source import Source, check_trl, made_for
from satisfice.training.trl_hooks import AfterSaving, rollouts, shaped_reward
from satisfice.training.trl_loss import batch_loss, by_length, cropped, old_logprobs
from satisfice.training.value_head import heard_values, with_value_head

ROWS = 8  # that go through the model together on a CPU
_BY_MODEL = frozenset({"logprob", "reference_logprob", "entropy", "value"})  # columns that cost a forward pass


class ShapedTrainer(GRPOTrainer):
    """TRL's GRPO trainer with a shaper in place of its rewards, advantages and loss.

    A step is one batch of rollouts: `args.generation_batch_size` of them over all processes, whole groups of
    `args.num_generations`. The shaper sees the batch as one, whichever processes its rows were sampled in, and so gives
    the same advantages on one process as on many.

    `refill` replaces groups of which the shaper keeps nothing by other problems', at most so many times per step.
    `monitor` are the problems that a monitoring shaper watches. `before` may note something at the start of
    each step. `rewards` says what verdicts are worth before any shaping; None: what the method is made for.

    Raises:
        Unfit: the shaper reads columns that there are not, or wants a loss that is not computed here.
    """

    def __init__(
        self, model: Any, *, shaper: Shaper, source: Source, problems: Sequence[Problem], args: GRPOConfig,
        processing_class: Any, monitor: Sequence[Problem] = (), refill: int = 0, limit: int | None = None,
        callbacks: Sequence[TrainerCallback] = (), rewards: RewardRange | None = None,
    ) -> None:  # fmt: skip
        stated = [with_request(shaper, start(shaper), problem) for problem in problems]
        self._named = column_names(stated, shaper)
        require(shaper, "the trainer", made_for(shaper) | self._named, host="data")
        if isinstance(shaper, Segmented) and refill:
            raise BadInput(f"refill: rollouts of {shaper.card.id} grow over several steps. Leave it at 0.")
        parts, per_update = args.steps_per_generation or 1, args.gradient_accumulation_steps
        self.updates = parts // per_update
        if parts % per_update or args.num_iterations != 1:
            raise BadInput("ShapedTrainer: a batch of rollouts is used once, in whole updates.")
        check_trl(shaper, steers=source.steers, updates=self.updates, processes=int(os.environ.get("WORLD_SIZE", 1)))
        if isinstance(shaper, Monitoring) and not monitor:
            raise BadInput(f"{shaper.card.id} watches a fixed set of prompts. Give monitor=, some problems.")
        self.shaper, self.shaper_state, self.source = shaper, start(shaper), source
        self.group_size = int(args.num_generations or 1)
        self.limit = int(limit or args.max_completion_length or 0)
        self._problems = {problem.question: problem for problem in problems}
        self._pool, self._monitor, self._refill = list(problems), list(monitor), refill
        self.rewards = reward_range(shaper) if rewards is None else rewards
        self._batch: dict[str, Floats] = {}
        self._underway = Underway()
        self._values = "value" in reads(shaper)
        if self._values:
            with_value_head(model)
        args.beta = shaper.loss.kl  # whether TRL loads a reference policy and computes its log-probabilities
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You are using 'rollout_func'")  # experimental, hence the canary test
            super().__init__(
                model, reward_funcs=shaped_reward, args=args, processing_class=processing_class,
                train_dataset=Dataset.from_dict({"prompt": [problem.question for problem in problems]}),
                rollout_func=rollouts, callbacks=[*callbacks, AfterSaving(self.write_shaper_state)],
            )  # fmt: skip

    # TRL's duty: turn rewards into one advantage per row. Ours: the shaper's, one per token, with every token's share
    # of the loss. TRL keeps tensors of the first dimension together when it shuffles and splits the batch.
    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        shape, device = output["completion_ids"].shape, output["completion_ids"].device
        output["advantages"] = self._local("advantage", shape).to(device)
        for name in self._batch.keys() - {"advantage"}:
            output[name] = self._local(name, shape).to(device)
        return output

    # TRL's duty: its losses, one aggregation at a time. Ours: what the shaper asks for, averaged over the whole batch.
    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        inputs = cropped(inputs)
        there = inputs["completion_mask"]
        mask = there * inputs["tool_mask"]  # what the loss counts
        with heard_values(self._policy if self._values else None) as values:
            logprob, entropy, _ = self._get_per_token_logps_and_entropies(
                model,
                torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1),
                torch.cat([inputs["prompt_mask"], there], 1),
                mask.shape[1],
                batch_size=None if self._values else len(mask),  # a value head hears one pass
                compute_entropy=True,
            )
        part = Tokens(
            logprob=logprob, entropy=entropy, mask=mask, advantage=inputs["advantages"], share=inputs["share"],
            plain_share=inputs["plain_share"], entropy_share=inputs["entropy_share"],
            reference=inputs.get("ref_per_token_logps"),
            old_logprob=old_logprobs(inputs, logprob),
            brief=brief_chances(self, model, inputs) if "brief" in self.shaper.loss.reads else None,
            value=values(mask.shape[1]),
            columns={name.removeprefix(COLUMN): x for name, x in inputs.items() if name.startswith(COLUMN)},
        )  # fmt: skip
        loss, told = batch_loss(self.shaper.loss, part)
        for name, value in told.items():
            self.note(f"loss/{name}", value)
        # Parts are added up; processes are averaged over, and each update has its part of the batch's tokens.
        total: Tensor = loss * self.accelerator.num_processes * self.updates
        return total

    # TRL's duty: chunks of rows, all as wide as the batch. Ours: rows of like length together, since on CPUs
    # padding costs as much as text.
    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int,
        batch_size: int | None = None, **more: Any,
    ) -> Any:  # fmt: skip
        one = super()._get_per_token_logps_and_entropies
        if batch_size is None or input_ids.device.type != "cpu":
            return one(model, input_ids, attention_mask, logits_to_keep, batch_size=batch_size, **more)
        rows = min(batch_size, ROWS)
        return by_length(partial(one, model, **more), input_ids, attention_mask, logits_to_keep, rows)

    @property
    def _policy(self) -> Any:
        return self.accelerator.unwrap_model(self.model)

    # Steps

    @property
    def batch_number(self) -> int:
        """Batches of rollouts that were trained on."""
        return int(self.state.global_step) // self.updates

    def note(self, name: str, value: float) -> None:
        """Log a number with this step's."""
        self._metrics["train"][name].append(value)

    def roll(self, questions: Sequence[str]) -> dict[str, Any]:
        """One batch: sample, cut, shape and, while groups are left empty-handed, sample again; this process's part."""
        begin = time.perf_counter()
        self.source.update(self._policy)
        self._watch()
        first = self.accelerator.process_index * len(questions)
        groups = [(first + i) // self.group_size for i in range(len(questions))]
        problems = [self._problems[question] for question in questions]
        if isinstance(self.shaper, Segmented):
            mine = self._grown(self.shaper, problems)
        else:
            mine = self._ask(problems, groups, list(range(first, first + len(questions))), 0)
        for round_ in range(self._refill + 1):
            rows, known, batch = self._gathered(mine)
            shaping = time.perf_counter()
            shaped = self.shaper(batch, self.shaper_state)
            shaping = time.perf_counter() - shaping
            empty = empty_groups(batch, shaped)
            if not empty or round_ == self._refill:
                break
            mine = self._replaced(mine, empty, first, round_ + 1)
        if {row["group"] for row in rows} != set(range(len(rows) // self.group_size)):
            raise RuntimeError("TRL gave a batch that is not whole groups")
        shaping -= time.perf_counter()
        self._batch = {
            name: values[first : first + len(mine)]
            for name, values in weighed(self.shaper.loss, self.limit, len(rows), known, batch, shaped).items()
        }
        if isinstance(self.shaper, Replaying):
            self._replay(self.shaper, mine, first, known, batch, shaped)
        self.shaper_state = advance(self.shaper, self.shaper_state, batch)
        shaping += time.perf_counter()
        spent = sum(row["spent"] for row in rows)
        ended = batch["finished"] > 0
        seen = batch.take(ended) if ended.any() else batch  # what goes on is neither right nor wrong, nor is its length
        told = {f"rollouts/{name}": value for name, value in seen.summary().items()}
        told |= {f"shaping/{name}": float(value) for name, value in shaped.metrics.items()}
        told |= {
            "rollouts/reward": float(shaped.reward.mean()), "rollouts/kept": float(shaped.keep.mean()),
            "rollouts/unknown": 1 - len(known) / len(rows), "rollouts/spent": float(spent),
            "time/shaping_s": shaping, "time/rollouts_s": time.perf_counter() - begin - shaping,
        }  # fmt: skip
        for name, value in told.items():
            self.note(name, value)
        reward = np.full(len(rows), np.nan)
        reward[known] = shaped.reward
        return {
            "prompt_ids": [list(rollout.prompt) for rollout in mine],
            "completion_ids": [list(rollout.ids) for rollout in mine],
            "env_mask": [[int(i) for i in rollout.mask or (True,) * len(rollout.ids)] for rollout in mine],
            "logprobs": None,
            "shaped_reward": [None if np.isnan(r) else float(r) for r in reward[first : first + len(mine)]],
        }

    def _stated(self, problem: Problem) -> Problem:
        """Return the problem with what the shaper wants its prompt to state."""
        return with_request(self.shaper, self.shaper_state, problem)

    def _ask(
        self, problems: Sequence[Problem], groups: Sequence[int], rows: Sequence[int], round_: int, *, salt: str = ""
    ) -> list[Rollout]:
        problems = [self._stated(problem) for problem in problems]
        caps = caps_for(self.shaper, self.shaper_state, [problem.id for problem in problems])
        limits = [self.limit] * len(problems) if caps is None else [min(self.limit, int(cap)) for cap in caps]
        if isinstance(self.shaper, Steering) and not salt:  # a monitor looks at plain rollouts
            return self._steer(self.shaper, problems, groups, limits, (self.batch_number, round_, salt))
        asks = [
            Ask(
                problem=problem, group=group, limit=limit,
                key=random_key(self.args.seed, self.batch_number, round_, problem.id, row, salt),
            )
            for problem, group, limit, row in zip(problems, groups, limits, rows, strict=True)
        ]  # fmt: skip
        return self.source.sample(asks)

    def _steer(
        self, shaper: Steering, problems: Sequence[Problem], groups: Sequence[int], limits: Sequence[int], when: Any
    ) -> list[Rollout]:
        size = self.group_size
        if any(len(set(groups[at : at + size])) > 1 or at + size > len(groups) for at in range(0, len(groups), size)):
            raise Unfit(
                f"{self.shaper.card.id} makes the rollouts of a group together, so each process needs whole groups. "
                "Make prompts a multiple of the number of processes."
            )
        asks = [
            AskGroup(
                problem=problems[at], group=groups[at], size=size, limit=limits[at],
                seed=random_key(self.args.seed, *when, groups[at]),
            )
            for at in range(0, len(groups), size)
        ]  # fmt: skip
        return self.source.steer(asks, shaper, self.shaper_state)

    def _grown(self, shaper: Segmented, problems: Sequence[Problem]) -> list[Rollout]:
        """Return rollouts that are on their way, grown until as many can be trained on as a step has."""
        size = self.group_size if shaper.whole_groups else 1
        want = len(problems) // size
        some = random_key(self.args.seed, "ahead", self.batch_number)
        fresh = [*problems[::size], *(self._pool[(some + i) % len(self._pool)] for i in range(want))]
        caps = caps_for(self.shaper, self.shaper_state, [problem.id for problem in fresh])
        limits = [self.limit] * len(fresh) if caps is None else [min(self.limit, int(cap)) for cap in caps]
        step = self._underway.filled(
            list(zip(fresh, limits, strict=True)), (2 if shaper.whole_groups else 1) * want, size, self.args.seed
        )
        known = {problem.id: self._stated(problem) for problem in self._pool}
        spent, taken, self._underway = grow_until(
            step, want, lambda rows: self.source.grow(rows, known, shaper.segment), whole=shaper.whole_groups
        )
        self.note("rollouts/underway", float(len(self._underway.rows)))
        rollouts = self.source.grown(taken, known)
        rollouts = [replace(one, group=at // self.group_size) for at, one in enumerate(rollouts)]
        rest = spent - sum(rollout.spent for rollout in rollouts)
        return [replace(rollouts[0], spent=rollouts[0].spent + rest), *rollouts[1:]]

    def _gathered(self, mine: list[Rollout]) -> tuple[list[dict[str, Any]], list[int], Rollouts]:
        """All processes' rows, which of them have a verdict, and those as a batch; rollouts are cut on the way."""
        rows, known, batch = self._all(mine)
        if isinstance(self.shaper, Cutting):
            length = dict(zip(known, self.shaper.cut(batch, self.shaper_state).tolist(), strict=True))
            first = self.accelerator.process_index * len(mine)
            for place, rollout in enumerate(mine):
                if (end := length.get(first + place, len(rollout.ids))) < len(rollout.ids):
                    mine[place] = self.source.cut(rollout, end)
            rows, known, batch = self._all(mine)
        return rows, known, batch

    def _all(self, mine: Sequence[Rollout]) -> tuple[list[dict[str, Any]], list[int], Rollouts]:
        rows: list[dict[str, Any]] = gather_object(self._described(mine))
        known = [place for place, row in enumerate(rows) if row["verdict"] != Verdict.UNKNOWN.value]
        if not known:
            raise Unfit("not one verdict of this batch is known: the scorer of the task fails on every answer.")
        some = [rows[place] for place in known]
        by_model = sorted(reads(self.shaper) & _BY_MODEL)
        return rows, known, batch_of(some, {name: [row[name] for row in some] for name in by_model}, self.rewards)

    def _described(self, mine: Sequence[Rollout]) -> list[dict[str, Any]]:
        rows = [as_row(rollout, self._named) for rollout in mine]
        if reads(self.shaper) & _BY_MODEL:
            reference = "reference_logprob" in reads(self.shaper)
            for row, told in zip(rows, signals(self, mine, values=self._values, reference=reference), strict=True):
                row |= told
        return rows

    def _replaced(self, mine: list[Rollout], empty: Sequence[int], first: int, round_: int) -> list[Rollout]:
        """Return rollouts of other problems in place of those groups; the same problems on every process."""
        step = self.batch_number
        problems = {g: self._pool[random_key(self.args.seed, step, round_, g) % len(self._pool)] for g in empty}
        places = [place for place, rollout in enumerate(mine) if rollout.group in problems]
        groups = [mine[place].group for place in places]
        new = self._ask([problems[g] for g in groups], groups, [first + place for place in places], round_)
        filled = list(mine)
        for place, rollout in zip(places, new, strict=True):
            filled[place] = replace(rollout, spent=rollout.spent + mine[place].spent)
        return filled

    def _replay(
        self, shaper: Replaying, mine: list[Rollout], first: int, known: Sequence[int], batch: Rollouts, shaped: Shaped
    ) -> None:
        """Put remembered rollouts in the places of those whose groups say nothing."""
        places = [known[row] for row in silent_rows(batch, shaped)]
        chosen = picked(shaper.replay(self.shaper_state), len(places), random_key(self.args.seed, self.batch_number))
        weight = shaper.imitation(self.shaper_state)
        here = range(first, first + len(mine))
        some = {place - first: one for place, one in zip(places, chosen, strict=False) if place in here}
        everything = [memory for memory, _ in chosen]
        self._batch = with_memories(self._batch, some, everything, self.shaper.loss, self.limit, weight)
        by_id = {problem.id: self._stated(problem) for problem in self._pool}
        for place, (memory, _) in some.items():
            problem = by_id[memory["prompt"]]
            mine[place] = replace(
                mine[place], problem=problem, prompt=self.source.prompt(problem), ids=tuple(memory["ids"]), mask=None,
                injected=0, parts=(),
            )  # fmt: skip
        self.note("rollouts/replayed", float(len(chosen)))

    def _watch(self) -> None:
        """Sample the monitor's problems when the shaper wants it; the processes share them out."""
        if not isinstance(self.shaper, Monitoring) or not self.shaper.monitor_due(self.shaper_state):
            return
        jobs = [(p, g) for g, p in enumerate(self._monitor) for _ in range(self.group_size)]
        share = range(self.accelerator.process_index, len(jobs), self.accelerator.num_processes)
        mine = self._ask([jobs[n][0] for n in share], [jobs[n][1] for n in share], list(share), 0, salt="monitor")
        batch = self._all(mine)[2]
        self.shaper_state = self.shaper.monitor(self.shaper_state, batch)
        self.note("rollouts/monitor_spent", float(batch.length.sum()))

    def _local(self, name: str, shape: tuple[int, int]) -> Tensor:
        """Return a part of the batch; one by tokens is in the width that TRL padded the completions to."""
        values = self._batch[name]
        if values.ndim == 1:
            return torch.from_numpy(values).float()
        out = torch.zeros(shape, dtype=torch.float32)
        values = values[:, : shape[1]]  # nothing stands beyond a process's own longest rollout
        out[:, : values.shape[1]] = torch.from_numpy(values)
        return out

    # Checkpoints

    def load_shaper_state(self, checkpoint: Path) -> None:
        """Take the shaper's state from a checkpoint, before `train(resume_from_checkpoint=...)`."""
        self.shaper_state = read_state(checkpoint, self.shaper, self.rewards)
        self._underway = read_underway(checkpoint)

    def write_shaper_state(self, checkpoint: Path) -> None:
        """Put what the shaper remembers, and the rollouts that are on their way, into a checkpoint."""
        underway = self._underway if isinstance(self.shaper, Segmented) else None
        write_state(checkpoint, self.shaper, self.shaper_state, self.rewards, underway)
