"""The plug-in inside verl: its own functions are called as its trainers call them."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from satisfice.core.errors import BadInput, Unfit
from satisfice.core.shaper import SHAPER, Shaper, start
from satisfice.methods import shaping
from satisfice.training.verl.doctor import methods

if importlib.util.find_spec("verl") is None:
    pytest.skip("needs the environment of verl", allow_module_level=True)

pytestmark = [pytest.mark.verl, pytest.mark.filterwarnings("ignore")]

sys.path.insert(0, str(Path(__file__).parent))


PLACED = methods()
REFUSED = sorted(name for name, row in PLACED.items() if not row["trainer"])


@pytest.mark.parametrize("method", sorted(PLACED))
def test_verl_gives_the_advantages_of_numpy_and_trl(method: str) -> None:
    import routes
    import verl  # noqa: F401  (registers)

    compared = 0
    for what, ours, theirs in routes.compare(shaping.FAMILY.methods[method]()):
        scale = max(float(np.abs(ours).max()), 1e-9)
        assert np.abs(ours - theirs).max() <= 2e-6 * scale, what
        compared += bool(np.abs(ours).max() > 0)
    assert compared >= 6  # else there was nothing to compare


@pytest.mark.parametrize("method", sorted(PLACED.keys() - REFUSED))
def test_verls_policy_loss_is_the_shapers(method: str) -> None:
    """Through verl's registry, settings and averages: the loss that `Loss.policy_loss` says, in two micro-batches."""
    import routes
    import torch
    from omegaconf import OmegaConf
    from verl.trainer.ppo.core_algos import get_policy_loss_fn
    from verl.utils.config import omega_conf_to_dataclass

    from satisfice.training.verl.batch import advantages_for
    from satisfice.training.verl.settings import nested, settings_for

    shaper: Shaper = shaping.FAMILY.methods[method]()
    batch = routes.batch_for(shaper, 1)
    shaped = shaper(batch, start(shaper))
    mask = batch["mask"]
    actor = nested(settings_for(shaper, max_tokens=routes.LIMIT))["actor_rollout_ref"]["actor"]
    actor |= {
        "_target_": "verl.workers.config.FSDPActorConfig", "strategy": "fsdp", "rollout_n": 5,
        "ppo_micro_batch_size_per_gpu": 10,
    }  # fmt: skip
    config = omega_conf_to_dataclass(OmegaConf.create(actor))
    config.global_batch_info.update(
        dp_size=1, batch_num_tokens=int(mask.sum()), global_batch_size=len(mask),
        loss_scale_factor=config.loss_scale_factor,
    )  # fmt: skip
    rng = np.random.default_rng(2)
    old = -rng.exponential(size=mask.shape)
    new = old + rng.normal(size=mask.shape) * 0.3
    advantage = advantages_for(shaped, shaper.loss, mask, np.arange(len(mask)))
    loss_fn, total = get_policy_loss_fn("satisfice"), 0.0
    for half in (slice(0, 10), slice(10, 20)):
        loss, told = loss_fn(
            old_log_prob=torch.tensor(old[half]), log_prob=torch.tensor(new[half], requires_grad=True),
            advantages=torch.tensor(advantage[half]), response_mask=torch.tensor(mask[half]),
            loss_agg_mode=config.loss_agg_mode, config=config,
        )  # fmt: skip
        total += float(loss.detach())
        loss.backward()
        assert np.isfinite(told["actor/ppo_kl"])
    expected = routes._constant(shaper).policy_loss(shaped, new, old, mask)
    if not shaper.loss.terms:
        assert total == pytest.approx(expected, rel=1e-5)
    else:  # a term of its own is there, and tested by itself in test_trl_loss.py
        assert np.isfinite(total)


@pytest.mark.parametrize("method", REFUSED)
def test_what_has_no_place_in_verl_is_refused_before_a_run_is_written(method: str) -> None:
    from satisfice.training.verl.settings import settings_for

    with pytest.raises(Unfit, match=f"^{method} .* verl"):
        settings_for(shaping.FAMILY.methods[method](), max_tokens=64)


def test_verls_own_losses_are_not_the_shapers() -> None:
    """Why there is a policy loss of ours: verl bounds the loss of bad tokens at three times their advantage."""
    import torch
    from omegaconf import OmegaConf
    from verl.trainer.ppo.core_algos import get_policy_loss_fn

    config = OmegaConf.create(
        {"clip_ratio": 0.2, "clip_ratio_low": 0.2, "clip_ratio_high": 0.2, "global_batch_info": {}}
    )
    found, _ = get_policy_loss_fn("vanilla")(
        old_log_prob=torch.zeros(1, 1), log_prob=torch.full((1, 1), 2.0), advantages=torch.full((1, 1), -1.0),
        response_mask=torch.ones(1, 1), config=config,
    )  # fmt: skip
    assert float(found) == pytest.approx(3.0)
    assert shaping.Grpo().loss.token_loss(np.exp(2.0), -1.0) == pytest.approx(np.exp(2.0))


def test_everything_is_registered_and_told() -> None:
    from satisfice.training.verl.doctor import examine, told

    report = examine()
    assert report["well"], report["wrong"]
    assert len(report["here"]["estimators"]) == len(shaping.FAMILY.methods)
    assert report["methods"]["odin"]["data"] == ["score"]
    assert not report["methods"]["dot"]["trainer"]
    assert "Train it with TRL" in report["methods"]["dot"]["why"]
    assert told(report)[-1] == "All is well."


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"VERL_USE_EXTERNAL_PLUGINS": "none"}, "keeps verl from loading"),
        ({"VERL_USE_EXTERNAL_PLUGINS": "other"}, "keeps verl from loading"),
    ],
)
def test_the_doctor_finds_what_verl_hides(environment: dict[str, str], says: str) -> None:
    command = [sys.executable, "-W", "ignore", "-m", "satisfice.training.verl.doctor"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert says in done.stdout


def call(method: str, *, reward: float = 1.0, algorithm: dict[str, Any] | None = None) -> Any:
    """One call of verl's `compute_advantage` with four rollouts, as if in a new process."""
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    from satisfice.training.verl.estimator import Estimator

    name = f"satisfice/{method}"
    get_adv_estimator_fn(name).__dict__.update(Estimator(method).__dict__)
    return call_with(name, algorithm or {}, reward)


def call_with(name: str, algorithm: dict[str, Any], reward: float = 1.0) -> Any:
    import torch
    from verl.protocol import DataProto
    from verl.trainer.ppo.ray_trainer import compute_advantage

    rewards = torch.zeros(4, 3)
    rewards[:, 2] = torch.tensor([reward, 0.0, reward, 0.0])
    data = DataProto.from_dict(
        tensors={"token_level_rewards": rewards, "response_mask": torch.ones(4, 3).long()},
        non_tensors={"uid": np.array(["a", "a", "b", "b"], dtype=object)},
    )
    return compute_advantage(data, adv_estimator=name, config=algorithm)


def test_settings_come_from_the_algorithm_section() -> None:
    plain = call("grpo").batch["advantages"][0, 0]
    other = call("grpo", algorithm={"shaper": "grpo(ddof=0)"}).batch["advantages"][0, 0]
    assert float(other / plain) == pytest.approx(np.sqrt(2), rel=1e-3)
    with pytest.raises(BadInput, match="Name one method in both"):
        call("grpo", algorithm={"shaper": "rloo"})


def test_a_shaper_of_ones_own_has_an_estimator(tmp_path: Path) -> None:
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    from satisfice.catalog import build
    from satisfice.training.verl.estimator import Estimator
    from satisfice.training.verl.settings import settings_for

    path = tmp_path / "mine.py"
    path.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\n"
        "from satisfice.core.card import Card\nfrom satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Short:\n"
        "    card: ClassVar = Card(id='short', paper='', where='', needs=frozenset(), fidelity='standard')\n"
        "    pressure: ClassVar = Pressure(wrong=True, all_right=True)\n"
        "    loss: ClassVar = Loss()\n"
        "    scale: float = 1.0\n"
        "    def __call__(self, rollouts, state=STATELESS):\n"
        "        return Shaped(advantage=-self.scale * rollouts.length, reward=rollouts.reward)\n"
    )
    spec = f"{path}:Short(scale=2.0)"
    assert settings_for(build(spec, SHAPER, allow_files=True), max_tokens=9)["algorithm.adv_estimator"] == ("satisfice")
    estimator = get_adv_estimator_fn("satisfice")
    estimator.__dict__.update(Estimator().__dict__)
    assert call_with("satisfice", {"shaper": spec}).batch["advantages"][0].tolist() == [-6.0, -6.0, -6.0]
    estimator.__dict__.update(Estimator().__dict__)
    with pytest.raises(BadInput, match="name one in"):
        call_with("satisfice", {})


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("laser-d", "trainer_mode=satisfice"),
        ("l1-exact", "prompts that state the number"),
        ("thinkprune", "a limit of length of its own"),
        ("a-dlp", "checkpoint_callback_class"),
        ("s-grpo", "rollouts that it makes itself"),
    ],
)
def test_what_verls_own_trainer_cannot_give_is_refused_with_a_way_out(method: str, says: str) -> None:
    with pytest.raises(Unfit, match=says):
        call(method)


def test_a_reward_of_ones_own_is_refused() -> None:
    with pytest.raises(BadInput, match="reward_manager"):
        call("grpo", reward=0.7)


def test_state_goes_through_verls_checkpoints(tmp_path: Path) -> None:
    """With verl's own trainer and its checkpoint callback, made anew as in a resumed run."""
    from omegaconf import OmegaConf
    from verl.trainer.ppo.checkpoint_callback import build_checkpoint_callback
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    trainer = {
        "checkpoint_callback_class": "satisfice.training.verl.keeper.KeepState", "resume_mode": "auto",
        "default_local_dir": str(tmp_path), "resume_from_path": None,
    }  # fmt: skip
    config = OmegaConf.create({"trainer": trainer, "algorithm": {"adv_estimator": "satisfice/a-dlp"}})
    with pytest.raises(Unfit, match="remembers"):
        call("a-dlp")
    keeper = build_checkpoint_callback(config)
    estimator = get_adv_estimator_fn("satisfice/a-dlp")
    assert estimator.kept
    estimator.state = {**estimator.state, "marked": 7}
    folder = tmp_path / "global_step_5"
    folder.mkdir()
    keeper.on_save(trainer=None, global_step=5, checkpoint_dir=str(folder))
    (tmp_path / "latest_checkpointed_iteration.txt").write_text("5")
    assert json.loads((folder / "satisfice.json").read_text())["shaper"] == "a-dlp"

    estimator.state = {}
    build_checkpoint_callback(config)
    assert estimator.state["marked"] == 7
    (folder / "satisfice.json").unlink()
    with pytest.raises(BadInput, match="no readable"):
        build_checkpoint_callback(config)
