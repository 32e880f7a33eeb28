"""From a shaper to the settings with which verl trains it."""

from collections.abc import Mapping
from typing import Any

from satisfice.catalog import canonical
from satisfice.core.shaper import RewardRange, Shaper, reward_range
from satisfice.methods.shaping import FAMILY
from satisfice.training.verl.estimator import OWN, PREFIX, check_trained

ACTOR = "actor_rollout_ref.actor"
AVERAGES: Mapping[str, str] = {
    "token": "token-mean", "sequence": "seq-mean-token-mean", "constant": "seq-mean-token-sum-norm",
}  # fmt: skip
DIVERGENCES: Mapping[str, str] = {"k1": "kl", "k2": "mse", "k3": "low_var_kl"}


def settings_for(shaper: Shaper, *, max_tokens: int, rewards: RewardRange | None = None) -> dict[str, Any]:
    """Return verl's keys, with dots, and their values.

    `max_tokens`: of the longest rollout; `rewards`: what verdicts are worth, by default what the method is made for.

    Raises:
        Unfit: the method wants what verl cannot do.
    """
    loss, spec = shaper.loss, canonical(shaper)
    check_trained(shaper)
    return {
        "algorithm.adv_estimator": PREFIX + shaper.card.id if shaper.card.id in FAMILY.methods else OWN,
        "algorithm.shaper": spec,
        "algorithm.reward_range": reward_range(shaper) if rewards is None else rewards,
        "algorithm.use_kl_in_reward": False,
        "reward.reward_manager.name": "satisfice",
        "trainer.v1.trainer_mode": "satisfice",
        "actor_rollout_ref.rollout.agent.default_agent_loop": "satisfice",
        f"{ACTOR}.policy_loss._target_": "satisfice.training.verl.loss.ShapedPolicyLoss",
        f"{ACTOR}.policy_loss.loss_mode": "satisfice",
        f"{ACTOR}.policy_loss.shaper": spec,
        f"{ACTOR}.loss_agg_mode": AVERAGES[loss.aggregation],
        f"{ACTOR}.loss_scale_factor": (loss.constant or max_tokens) if loss.aggregation == "constant" else None,
        f"{ACTOR}.entropy_coeff": loss.entropy,
        f"{ACTOR}.use_kl_loss": loss.kl > 0,
        f"{ACTOR}.kl_loss_coef": loss.kl,
        f"{ACTOR}.kl_loss_type": DIVERGENCES[loss.kl_kind],
        "data.max_response_length": max_tokens,
    }


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as a tree, the form of verl's configuration file.

    >>> nested({"algorithm.shaper": "grpo", "algorithm.use_kl_in_reward": False})
    {'algorithm': {'shaper': 'grpo', 'use_kl_in_reward': False}}
    """
    tree: dict[str, Any] = {}
    for key, value in settings.items():
        *path, last = key.split(".")
        here = tree
        for name in path:
            here = here.setdefault(name, {})
        here[last] = value
    return tree
