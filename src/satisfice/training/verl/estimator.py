"""Advantage estimators in verl's form, one for each shaper. verl itself is not imported here."""

from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from satisfice.catalog import build
from satisfice.core import trainer
from satisfice.core.errors import BadInput, Unfit
from satisfice.core.fit import require
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import (
    SHAPER,
    RewardRange,
    Shaped,
    Shaper,
    State,
    advance,
    asking,
    columns_of,
    reads,
    reward_range,
    start,
)
from satisfice.core.steering import Steering
from satisfice.core.trainer import require_trainer
from satisfice.training.verl.batch import BY_ESTIMATOR, BY_TRAINER, More, advantages_for, rollouts_of

PREFIX = "satisfice/"
OWN = "satisfice"  # the estimator for a shaper that is not in the catalogue
TRAINER = "trainer.v1.trainer_mode=satisfice"
KEEPER = "trainer.checkpoint_callback_class=satisfice.training.verl.keeper.KeepState"
VERL = frozenset({trainer.CAPS, trainer.MONITORS, trainer.REFRESH, trainer.REMEMBERS, trainer.STATES, trainer.STEERS})
"""What our trainer inside verl gives a shaper. verl's queue of rollouts has no place for those that are cut, go on or
come from earlier steps; its policy losses see log-probabilities and advantages only."""


class Estimator:
    """A shaper as verl calls it: `algorithm.adv_estimator=satisfice/kimi-length`.

    Its settings come from `algorithm.shaper="kimi-length(advantage=rloo)"`; without it they are the method's defaults.
    A shaper of one's own, `algorithm.shaper="./mine.py:MyShaper"`, goes with `algorithm.adv_estimator=satisfice`.

    verl passes on rewards, the mask of sampled tokens and the name of each row's prompt, and calls from one process
    with the whole batch. `more` is what our trainer adds before each call. What the shaper remembers is in `state`;
    `kept` says that somebody puts it into the checkpoints.
    """

    def __init__(self, method: str | None = None) -> None:
        self.method = method  # None: whatever the settings name
        self.shaper: Shaper = build(method or "grpo", SHAPER)
        self.state: State = start(self.shaper)
        self.rewards: RewardRange = reward_range(self.shaper)
        self.more: More | None = None
        self.by_trainer = self.kept = False
        self.shaped: Shaped | None = None  # of the last call, with the batch it is of
        self.batch: Rollouts | None = None
        self._settled = False

    def __call__(
        self, token_level_rewards: Tensor, response_mask: Tensor, config: Any = None, index: Any = None, **rest: Any
    ) -> tuple[Tensor, Tensor]:
        """Advantages and returns, each [B, T]; `rest` is what other releases of verl may add."""
        self.settle(config)
        if index is None:
            raise BadInput(
                f"{self.shaper.card.id}: verl names no prompts (uid), so it cannot be told which rollouts compete."
            )
        if not self.by_trainer:
            check_alone(self.shaper, kept=self.kept)
        mask = response_mask.detach().cpu().numpy().astype(np.bool_)
        reward = token_level_rewards.detach().cpu().double().numpy()
        batch, rows = rollouts_of(reward, mask, np.asarray(index), self.more, self.rewards)
        shaped = self.shaper(batch, self.state)
        self.state = advance(self.shaper, self.state, batch)
        self.shaped, self.batch = shaped, batch
        found = torch.from_numpy(advantages_for(shaped, self.shaper.loss, mask, rows))
        advantages = found.to(token_level_rewards.device, torch.float32)
        return advantages, advantages

    def settle(self, config: Any) -> None:
        """Take the settings from verl's `algorithm` section, once.

        Raises:
            BadInput: the section names another method than the estimator, or none where there must be one.
        """
        if self._settled:
            return
        spec = None if config is None else config.get("shaper")
        if spec is None and self.method is None:
            raise BadInput(f"algorithm.adv_estimator={OWN} takes any shaper: name one in algorithm.shaper.")
        if spec is not None:
            shaper = build(str(spec), SHAPER, allow_files=True)
            if self.method not in (None, shaper.card.id):
                raise BadInput(
                    f"algorithm.shaper is {shaper.card.id}, and algorithm.adv_estimator is {PREFIX}{self.method}. "
                    "Name one method in both."
                )
            self.shaper, self.state, self.rewards = shaper, start(shaper), reward_range(shaper)
        chosen = None if config is None else config.get("reward_range")
        if chosen is not None:
            if chosen not in get_args(RewardRange):
                raise BadInput(f"algorithm.reward_range must be 0/1 or +-1, got {chosen}.")
            self.rewards = chosen
        self._settled = True


def check_alone(shaper: Shaper, *, kept: bool) -> None:
    """Refuse a shaper that wants more than verl's own trainers hand to an estimator.

    Raises:
        Unfit: what it wants, and what to set.
    """
    check_trained(shaper)
    require_trainer(shaper, "verl's own trainer", {trainer.REFRESH, trainer.REMEMBERS}, f"Set {TRAINER}.")
    if not kept:
        require_trainer(
            shaper, "verl's own trainer", {trainer.REFRESH}, f"Set {TRAINER}, or for the checkpoints alone {KEEPER}."
        )
    if reads(shaper) - BY_ESTIMATOR:
        way_out = f"The trainer of satisfice gives more: {TRAINER}."
        require(shaper, "verl's own trainer", BY_ESTIMATOR, host="data", way_out=way_out)


def check_trained(shaper: Shaper) -> None:
    """Refuse a shaper that not even our trainer can serve inside verl.

    Raises:
        Unfit: what it wants, and that it can be trained with TRL.
    """
    require_trainer(shaper, "verl", VERL, "Train it with TRL: satisfice train.")
    if by_token := sorted(from_data(shaper) & {column.name for column in columns_of(shaper) if column.per == "token"}):
        raise Unfit(
            f"{shaper.card.id} reads {', '.join(by_token)} for each token, which no row of verl's data can hold. Shape "
            "such rollouts where they are made, with the library alone."
        )


def from_data(shaper: Shaper) -> frozenset[str]:
    """Return columns that the rows of the data must hold, because nobody inside verl can make them."""
    asked = asking(shaper)
    stated = frozenset() if asked is None else frozenset({asked.asks})
    return reads(shaper) - BY_TRAINER - stated - (shaper.makes if isinstance(shaper, Steering) else frozenset())
