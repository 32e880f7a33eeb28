"""Between verl's tensors and the batches of shapers: nothing here needs verl.

Legend: B rows of a batch as verl has them, rows that only fill up a mini-batch included; T tokens of the longest.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satisfice.core.errors import BadInput
from satisfice.core.problem import Verdict
from satisfice.core.rollouts import Bools, Floats, Ints, Rollouts
from satisfice.core.shaper import Loss, RewardRange, Shaped, worth
from satisfice.training.rollout import SAID

TRUNCATED = 2.0**-10
"""Taken off the reward of a rollout that a limit ended; so little that verl's own logs still show the accuracy."""
UNKNOWN = -0.25
"""The reward of a rollout whose verdict is unknown."""

BY_ESTIMATOR = frozenset({"mask", "segment"})
"""Columns that an advantage estimator can make of what verl hands it: everything else needs the trainer."""

BY_TRAINER = BY_ESTIMATOR | SAID | {"prompt", "ids", "logprob", "entropy"}
"""Columns that our trainer gives an estimator; the rows of the data may hold more."""


@dataclass(frozen=True, kw_only=True)
class More:
    """What the trainer knows of a batch beyond what verl hands to an estimator. Every array has B rows."""

    prompt: NDArray[np.str_]
    length: Ints  # [B] sampled tokens, also of those that the loss does not count
    columns: Mapping[str, Floats] = field(default_factory=dict)  # name -> [B]
    tokens: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # name -> [B, T]


def reward_of(verdict: Verdict, truncated: bool) -> float:
    """Return the one number that verl carries from the verifier to the estimator.

    >>> reward_of(Verdict.RIGHT, False), reward_of(Verdict.WRONG, True), reward_of(Verdict.UNKNOWN, False)
    (1.0, -0.0009765625, -0.25)
    """
    if verdict is Verdict.UNKNOWN:
        return UNKNOWN
    return float(verdict is Verdict.RIGHT) - TRUNCATED * truncated


def read_reward(reward: Floats) -> tuple[Bools, Bools, Bools]:
    """Which rollouts are right, which a limit ended, and whose verdict is known: `reward_of` backwards, each [B].

    Raises:
        BadInput: other numbers than `reward_of` gives: a reward of one's own, or one that verl has changed.
    """
    known = reward != UNKNOWN
    whole = np.where(known, reward, 0.0)
    truncated = whole % 1.0 != 0
    correct = whole + TRUNCATED * truncated
    if not np.isin(correct, (0.0, 1.0)).all():
        odd = float(reward[~np.isin(correct, (0.0, 1.0))][0])
        raise BadInput(
            f"a rollout has the reward {odd:g}, and an estimator of satisfice must tell from it whether the answer is "
            "right. Set reward.reward_manager.name=satisfice (your own function may judge inside it: "
            "reward.custom_reward_function) and algorithm.use_kl_in_reward=False."
        )
    return correct == 1.0, truncated, known


def rollouts_of(
    reward: Floats, mask: Bools, group: NDArray[Any], more: More | None = None, kind: RewardRange = "0/1"
) -> tuple[Rollouts, Ints]:
    """Return the rows whose verdict is known as a batch, and their numbers; rows without a token only fill up.

    `reward` and `mask` have shape [B, T], `group` names each row's prompt within the batch; `kind` says what
    verdicts are worth to the shaper, whatever number verl carries.

    Raises:
        BadInput: rewards that do not come from `reward_of`, or not one known verdict.
    """
    correct, truncated, known = read_reward(reward.sum(axis=1))
    rows = np.flatnonzero(known & mask.any(axis=1))
    if not len(rows):
        raise BadInput("not one verdict of this batch is known: the scorer of the task fails on every answer.")
    some = mask[rows]
    batch = Rollouts(
        group=np.asarray(group)[rows].astype(np.str_),
        correct=correct[rows],
        reward=worth(correct[rows], kind),
        length=some.sum(axis=1) if more is None else more.length[rows],
        truncated=truncated[rows],
        prompt=None if more is None else more.prompt[rows],
        columns={} if more is None else {name: values[rows] for name, values in more.columns.items()},
        tokens={
            "mask": some,
            "segment": np.zeros(some.shape, np.int64),
            **({} if more is None else {name: values[rows] for name, values in more.tokens.items()}),
        },
    )
    return batch, rows


def advantages_for(shaped: Shaped, loss: Loss, mask: Bools, rows: Ints) -> Floats:
    """Return a shaper's advantages as verl wants them, [B, T]; `rows` are those that the shaper saw.

    verl's losses know neither weights nor rows that are left out. Both go into the advantage, which loses nothing: a
    token's clipped loss is proportional to it. A row that is left out gets 0, and the others the factor by which
    verl's denominator is then too large.
    """
    counts = mask.astype(np.float64)
    kept = np.zeros(len(mask), np.bool_)
    kept[rows] = shaped.keep
    if loss.aggregation == "token":
        factor = counts.sum() / max(float(counts[kept].sum()), 1.0)
    else:
        factor = len(mask) / max(int(kept.sum()), 1)
    out = np.zeros(mask.shape)
    weight = 1.0 if shaped.weight is None else _wide(shaped.weight)
    out[rows] = _wide(shaped.advantage) * weight * (factor * kept[rows])[:, None]
    return out * counts


def _wide(values: Floats) -> Floats:
    return values if values.ndim == 2 else values[:, None]
