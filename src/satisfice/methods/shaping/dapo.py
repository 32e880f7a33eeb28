"""Ask for more of a prompt's rollouts until they differ, clip higher upwards, and charge the last stretch of length."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.rollouts import Bools, Floats, Rollouts
from satisfice.core.shaper import STATELESS, Loss, Pressure, RewardRange, Shaped, State
from satisfice.methods.shaping.grpo import Grpo

Metric = Literal["accuracy", "reward", "none"]


@dataclass(frozen=True, kw_only=True)
class Dapo:
    """Train on prompts that are neither solved nor hopeless, and charge the last stretch before the length limit.

        r_i = reward_i + clip((limit - cache - L_i) / cache, -1, 0)

    then GRPO's advantage, a mean over all tokens and a clip that leaves more room upwards. Groups in which every
    verdict is the same are not kept, to be replaced by other prompts; groups of one always are. The charge falls on
    wrong rollouts too. It is sized against verdicts of +1 and -1, which trainers give this method unless a run chooses
    another range; a batch of one's own has them as its `reward`. With 0 and 1 a right rollout at the limit earns what
    a wrong one does. Reference code: the recipe in verl (Apache-2.0); its dual clip (3) is off by default here because
    the paper has none, which is why the card names the paper.
    """

    card: ClassVar = Card(
        id="dapo",
        paper="arXiv:2503.14476",
        where="Eq. 13 (overlong); dynamic sampling; clip-higher",
        needs=frozenset(),
        fidelity="paper",
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=False)
    reward_range: ClassVar[RewardRange] = "+-1"

    limit: Annotated[int, Range(1)] = 20480  # L_max, tokens
    cache: Annotated[int, Range(1)] = 4096  # L_cache: how far before the limit the charge begins, tokens
    factor: Annotated[float, Range(0)] = 1.0  # of the charge
    keep: Metric = "accuracy"  # keep groups in which this differs; reward: after the charge
    clip_low: Annotated[float, Range(0, 1)] = 0.2
    clip_high: Annotated[float, Range(0)] = 0.28
    dual_clip: Annotated[float, Range(1)] | None = None  # c; verl's default is 3
    ddof: Annotated[int, Range(0, 1)] = 1  # of the standard deviation: 1 sample, 0 population
    eps: Annotated[float, Range(1e-12)] = 1e-6  # added to the standard deviation

    def __post_init__(self) -> None:
        check_fields(self)
        if self.cache > self.limit:
            raise BadInput(f"dapo: cache must not exceed limit ({self.limit}), got {self.cache}. Lower it.")

    @property
    def loss(self) -> Loss:
        return Loss(clip_low=self.clip_low, clip_high=self.clip_high, dual_clip=self.dual_clip)

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        charge = self.factor * overlong(rollouts.length, limit=self.limit, cache=self.cache)
        shaped = Grpo(ddof=self.ddof, eps=self.eps)(rollouts.rewarded(rollouts.reward + charge))
        if self.keep == "none":
            return shaped
        kept = differs(rollouts, rollouts.correct if self.keep == "accuracy" else shaped.reward)
        return shaped.keeping(kept).noted(overlong=float(np.mean(charge < 0)), kept=float(kept.mean()))


def overlong(length: ArrayLike, *, limit: int, cache: int) -> Floats:
    """Return the soft charge on length, from 0 down to -1 at the limit, [B].

    >>> overlong(np.array([16000, 17408, 18432, 21000]), limit=20480, cache=4096)
    array([ 0.  , -0.25, -0.5 , -1.  ])
    """
    return np.clip((limit - cache - np.asarray(length)) / cache, -1.0, 0.0) + 0.0


def differs(rollouts: Rollouts, values: Floats | Bools) -> Bools:
    """Rows of groups that have something to learn from: those in which the values differ, and groups of one, [B]."""
    groups = rollouts.groups
    differ: Bools = (groups.max(values) > groups.min(values)) | (groups.size == 1)
    return differ
