"""The same rollouts through numpy, through what our trainer puts into TRL's batch, and through verl's own functions.

Each route gives advantages, [B, T], and the pull, [B, T]: the advantage times the token's share of the loss, which is
all that an update sees as long as no ratio is clipped.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from satisfice.core.fit import asks
from satisfice.core.problem import Verdict
from satisfice.core.rollouts import Column, Rollouts
from satisfice.core.shaper import Shaped, Shaper, State, advance, reads, start
from satisfice.testing.rollouts import random_rollouts
from satisfice.training.shares import weighed

LIMIT, STEPS = 60, 3  # tokens, batches


def batch_for(shaper: Shaper, seed: int) -> Rollouts:
    """Twenty rollouts of four prompts with everything that the shaper reads; a mask as long as each rollout."""
    names = reads(shaper)
    by_token = {one.name for one in asks(shaper, "data") if isinstance(one, Column) and one.per == "token"}
    batch = random_rollouts(
        seed, longest=LIMIT, columns=[one for one in asks(shaper, "data") if one.name not in by_token]
    )
    rng = np.random.default_rng(seed)
    mask = np.arange(LIMIT) < batch.length[:, None]
    made = {
        "logprob": np.where(mask, -rng.exponential(size=mask.shape), 0.0),
        "entropy": np.where(mask, rng.exponential(size=mask.shape), 0.0),
        "ids": rng.integers(0, 5, mask.shape),
        "segment": np.zeros(mask.shape, np.int64),
        "mask": mask,
    }
    more = {name: rng.random(mask.shape) * mask for name in names & by_token - made.keys()}
    return Rollouts(
        group=batch.group, correct=batch.correct, length=batch.length, truncated=batch.truncated,
        prompt=np.array([f"prompt {g}" for g in batch.group]), columns=batch.columns, tokens={**made, **more},
    )  # fmt: skip


def by_numpy(shaper: Shaper, batch: Rollouts, shaped: Shaped) -> tuple[Any, Any]:
    """What the library says by itself."""
    mask = batch["mask"]
    wide = shaped.advantage if shaped.advantage.ndim == 2 else shaped.advantage[:, None]
    weight = np.ones(1) if shaped.weight is None else shaped.weight
    share = _constant(shaper).share(mask, shaped.keep) * (weight if weight.ndim == 2 else weight[:, None])
    return wide * mask, wide * share


def by_trl(shaper: Shaper, batch: Rollouts, shaped: Shaped) -> tuple[Any, Any]:
    """What the trainer on top of TRL puts into TRL's batch."""
    n = len(batch)
    found = weighed(shaper.loss, LIMIT, n, range(n), batch, shaped)
    return found["advantage"], found["advantage"] * found["share"]


def by_verl(shaper: Shaper, batch: Rollouts, state: State, *, filled: bool) -> tuple[Any, Any]:
    """What verl gets from its own `compute_advantage`, and what its own average makes of it.

    `filled`: as in a training, with two more rows: one without a verdict and one that fills up the mini-batch.
    """
    import torch
    from omegaconf import OmegaConf
    from verl.protocol import DataProto
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn
    from verl.trainer.ppo.ray_trainer import compute_advantage

    from satisfice.training.verl.batch import More, reward_of
    from satisfice.training.verl.loss import shares
    from satisfice.training.verl.settings import AVERAGES

    name = f"satisfice/{shaper.card.id}"
    estimator = get_adv_estimator_fn(name)
    estimator.by_trainer, estimator.state = True, state
    n = len(batch)

    def more(values: Any) -> Any:
        return np.concatenate([values, np.zeros((2 * filled, *values.shape[1:]), values.dtype)])

    mask = more(batch["mask"])
    mask[n : n + 1, :7] = True  # the one without a verdict
    reward = np.zeros(mask.shape, np.float32)
    for row in range(n):
        verdict = Verdict.RIGHT if batch.correct[row] else Verdict.WRONG
        reward[row, batch.length[row] - 1] = reward_of(verdict, bool(batch.truncated[row]))
    reward[n : n + 1, 6] = reward_of(Verdict.UNKNOWN, False)
    estimator.more = More(
        prompt=more(batch.prompt),  # type: ignore[arg-type]
        length=more(batch.length),
        columns={key: more(values) for key, values in batch.columns.items()},
        tokens={key: more(batch[key]) for key in batch.tokens if key not in ("mask", "segment")},
    )
    data = DataProto.from_dict(
        tensors={"token_level_rewards": torch.from_numpy(reward), "response_mask": torch.from_numpy(mask).long()},
        non_tensors={"uid": np.array([f"uid-{g}" for g in more(batch.group)], dtype=object)},
    )
    algorithm = OmegaConf.create({"adv_estimator": name})
    found = compute_advantage(data, adv_estimator=name, num_repeat=5, config=algorithm).batch["advantages"]
    loss = _constant(shaper)
    share = shares(
        torch.from_numpy(mask), AVERAGES[loss.aggregation],
        {
            "dp_size": 1, "batch_num_tokens": int(mask.sum()), "global_batch_size": len(mask),
            "loss_scale_factor": loss.constant if loss.aggregation == "constant" else None,
        },
    )  # fmt: skip
    assert not found[n:].any()
    return found[:n].numpy(), (found * share)[:n].numpy()


def compare(shaper: Shaper) -> Iterator[tuple[str, Any, Any]]:
    """Three steps of a shaper: what is compared, by numpy, and by the other route."""
    state = start(shaper)
    for step in range(STEPS):
        batch = batch_for(shaper, step)
        shaped = shaper(batch, state)
        advantage, pull = by_numpy(shaper, batch, shaped)
        there = by_trl(shaper, batch, shaped)
        yield f"TRL, step {step}: advantage", advantage, there[0]
        yield f"TRL, step {step}: pull", pull, there[1]
        same, alike = (by_verl(shaper, batch, state, filled=filled) for filled in (False, True))
        if shaped.weight is None and shaped.keep.all():
            yield f"verl, step {step}: advantage", advantage, same[0]
        yield f"verl, step {step}: pull", pull, same[1]
        yield f"verl, step {step}: pull in a batch that is filled up", pull, alike[1]
        state = advance(shaper, state, batch)


def _constant(shaper: Shaper) -> Any:
    return replace(shaper.loss, constant=shaper.loss.constant or LIMIT)
