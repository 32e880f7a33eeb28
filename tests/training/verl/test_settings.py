"""Settings, data and the doctor, where verl is not installed."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from satisfice.core.errors import BadInput, Unfit
from satisfice.methods import shaping
from satisfice.tasks import load_task
from satisfice.training.verl.doctor import examine, methods, told
from satisfice.training.verl.prepare import rows_of, run_settings
from satisfice.training.verl.settings import nested, settings_for


@pytest.mark.parametrize(
    ("spec", "key", "value"),
    [
        ({"aggregation": "token"}, "loss_agg_mode", "token-mean"),
        ({"aggregation": "sequence"}, "loss_agg_mode", "seq-mean-token-mean"),
        ({"kl": 0.0}, "use_kl_loss", False),
        ({"entropy": 0.01}, "entropy_coeff", 0.01),
    ],
)
def test_what_a_shaper_asks_of_the_loss_is_told_in_verls_words(spec: dict, key: str, value: object) -> None:
    found = settings_for(shaping.Grpo(**spec), max_tokens=512)
    assert found[f"actor_rollout_ref.actor.{key}"] == value


def test_a_constant_divides_by_the_shapers_number_or_the_limit() -> None:
    key = "actor_rollout_ref.actor.loss_scale_factor"
    assert settings_for(shaping.DrGrpo(), max_tokens=512)[key] == (shaping.DrGrpo().loss.constant or 512)
    assert settings_for(shaping.Grpo(), max_tokens=512)[key] is None


def test_one_spec_stands_in_both_places() -> None:
    tree = nested(settings_for(shaping.LaserD(lower=64), max_tokens=512))
    assert tree["algorithm"]["shaper"] == "laser-d(lower=64)"
    assert tree["actor_rollout_ref"]["actor"]["policy_loss"]["shaper"] == "laser-d(lower=64)"
    assert tree["algorithm"]["adv_estimator"] == "satisfice/laser-d"


def test_losses_that_verl_does_not_compute_are_refused() -> None:
    with pytest.raises(Unfit, match="satisfice train"):
        settings_for(shaping.FAMILY.methods["t-ppo"](), max_tokens=512)


def test_problems_become_rows_with_the_columns_that_they_bring() -> None:
    task = load_task("chain-sum:hard", split="train", limit=2)
    (first, _) = rows_of(task)
    assert first["data_source"] == task.name
    assert first["reward_model"] == {"style": "rule", "ground_truth": task.problems[0].answer}
    assert first["extra_info"]["id"] == task.problems[0].id
    assert first["extra_info"]["split"] == "train"


def test_a_group_of_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="two rollouts"):
        run_settings(
            shaping.Grpo(), tmp_path, model="m", prompts=4, group=1, max_tokens=64, max_prompt=64, rate=1e-6, gpus=1,
            nodes=1, steps=1,
        )  # fmt: skip


def test_every_method_is_placed_and_a_refusal_says_why() -> None:
    rows = methods()
    assert rows.keys() == shaping.FAMILY.methods.keys()
    for name, row in rows.items():
        assert row["trainer"] or (name in row["why"] and not row["alone"])
    assert rows["kimi-length"] == {"alone": True, "trainer": True, "data": [], "why": ""}
    assert rows["laser-d"]["trainer"]
    assert not rows["laser-d"]["alone"]
    assert rows["odin"]["data"] == ["score"]


@pytest.mark.skipif(importlib.util.find_spec("verl") is not None, reason="verl is there")
def test_the_doctor_says_how_to_get_verl() -> None:
    report = examine()
    assert not report["well"]
    assert "satisfice[verl]" in told(report)[-1]
    command = [sys.executable, "-m", "satisfice.cli", "doctor", "--verl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "satisfice[verl]" in done.stdout


def test_nothing_of_the_library_imports_verl() -> None:
    code = "import sys, satisfice, satisfice.training.verl.estimator; sys.exit('verl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


def test_a_run_states_what_verdicts_are_worth() -> None:
    def found(shaper: object, **more: str) -> object:
        return settings_for(shaper, max_tokens=512, **more)["algorithm.reward_range"]  # type: ignore[arg-type]

    assert (found(shaping.Grpo()), found(shaping.Dapo()), found(shaping.Dapo(), rewards="0/1")) == ("0/1", "+-1", "0/1")


def test_a_divergence_in_the_rewards_is_refused() -> None:
    with pytest.raises(Unfit, match="needs rewards less the divergence"):
        settings_for(shaping.LpSigmoid(form="code"), max_tokens=512)
