"""Shapers inside TRL, for real: short trainings of the pocket model, and the canary that watches TRL's own methods."""

import contextlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from satisfice.core.errors import BadInput, Unfit
from satisfice.training.checkpoint import latest_checkpoint, read_state

if importlib.util.find_spec("trl") is None:
    pytest.skip("needs the extra `train`", allow_module_level=True)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def beside(name: str) -> Any:
    """Return a module in this folder, which is no package."""
    if (folder := str(Path(__file__).parent)) not in sys.path:
        sys.path.insert(0, folder)
    return importlib.import_module(name)


@contextlib.contextmanager
def tiny(*arguments: Any, **more: Any) -> Iterator[Any]:
    """`tiny.tiny`, imported late: TRL takes seconds to load, and quick runs collect this file too."""
    with beside("tiny").tiny(*arguments, **more) as trainer:
        yield trainer


def inputs_of(trainer: Any) -> list[dict[str, Any]]:
    return list(next(iter(trainer.get_train_dataloader())))


def test_canary_the_loss_and_its_gradient_are_trls_own(tmp_path: Path) -> None:
    """TRL 1.16: on every release, see whether its methods still do what ours take over."""
    import trl
    from trl import GRPOTrainer

    assert trl.__version__.startswith("1.16."), "read trl.py against this release, then raise the number here"
    settings = {"loss_type": "dapo", "use_bias_correction_kl": False}
    with tiny(tmp_path, "grpo(ddof=1, eps=0.0001, kl=0.01, aggregation=token)", settings=settings) as trainer:
        trainer.model.train()
        theirs = GRPOTrainer._generate_and_score_completions(trainer, inputs_of(trainer))
        assert len(set(theirs["advantages"].tolist())) > 1  # else there is nothing to compare
        advantages = torch.from_numpy(trainer._batch["advantage"])
        mask = theirs["completion_mask"].bool()
        assert torch.allclose(advantages[mask].float(), theirs["advantages"][:, None].expand_as(mask)[mask], atol=1e-5)
        ours = dict(theirs, advantages=advantages.float())
        for name in ("share", "plain_share", "entropy_share"):
            ours[name] = trainer._local(name, tuple(mask.shape))
        with torch.no_grad():  # so that the policy has moved and ratios are not all 1
            theirs["old_per_token_logps"] = ours["old_per_token_logps"] = trainer._get_per_token_logps_and_entropies(
                trainer.model,
                torch.cat([theirs["prompt_ids"], theirs["completion_ids"]], 1),
                torch.cat([theirs["prompt_mask"], theirs["completion_mask"]], 1),
                mask.shape[1],
            )[0] + 0.3 * torch.randn(mask.shape, generator=torch.Generator().manual_seed(0))
            theirs["ref_per_token_logps"] = ours["ref_per_token_logps"] = theirs["old_per_token_logps"] - 0.1
        trainer.current_gradient_accumulation_steps = 1
        found = []
        for compute, batch in ((GRPOTrainer._compute_loss, theirs), (type(trainer)._compute_loss, ours)):
            trainer.model.zero_grad()
            loss = compute(trainer, trainer.model, batch)
            loss.backward()
            found.append((loss.item(), [p.grad.clone() for p in trainer.model.parameters()]))
        assert found[1][0] == pytest.approx(found[0][0], rel=1e-4)
        for one, other in zip(found[0][1], found[1][1], strict=True):
            assert torch.allclose(one, other, atol=1e-6, rtol=1e-3)


def test_a_state_goes_through_checkpoints_and_a_resumed_training_ends_the_same(tmp_path: Path) -> None:
    spec = "laser-d(lower=16, upper=64, interval=16, every=1, fallback=48)"
    saving = {"save_strategy": "steps", "save_steps": 1, "save_only_model": False}
    with tiny(tmp_path / "whole", spec, parts=2, steps=3, settings=saving) as trainer:
        trainer.train()
        whole, state = trainer.model.state_dict(), trainer.shaper_state
        logs = [row for row in trainer.state.log_history if "rollouts/accuracy" in row]
    assert (state["step"], state["monitored"]) == (3, 2)
    assert [row["step"] for row in logs] == [1, 2, 3]
    names = {"rollouts/accuracy", "rollouts/length_right", "rollouts/truncated", "rollouts/spent", "loss/entropy",
             "loss/clip_share", "shaping/target", "time/shaping_s"}  # fmt: skip
    assert names <= set(logs[0])
    last = latest_checkpoint(tmp_path / "whole")
    assert last is not None
    assert read_state(last, trainer.shaper, "0/1") == state

    with tiny(tmp_path / "parts", spec, parts=2, steps=1, settings=saving) as trainer:
        trainer.train()
    with tiny(tmp_path / "parts", spec, parts=2, steps=3, settings=saving) as trainer:
        checkpoint = latest_checkpoint(tmp_path / "parts")
        assert checkpoint is not None
        trainer.load_shaper_state(checkpoint)
        trainer.train(resume_from_checkpoint=str(checkpoint))
        assert trainer.shaper_state == state
        assert all(torch.equal(value, whole[name]) for name, value in trainer.model.state_dict().items())


def test_a_step_in_parts_has_the_gradient_of_the_whole(tmp_path: Path) -> None:
    norms = []
    for parts in (1, 2):
        with tiny(tmp_path, "kimi-length(advantage=grpo(aggregation=token))", parts=parts) as trainer:
            trainer.train()
            norms.append(float(trainer.state.log_history[0]["grad_norm"]))
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    assert norms[0] > 1e-3


def test_passes_without_padding_say_the_same_of_each_token(tmp_path: Path) -> None:
    with tiny(tmp_path, "grpo", rows=16, limit=128) as trainer:
        some = trainer._generate_and_score_completions(inputs_of(trainer))
        ids, there = (torch.cat([some[f"prompt_{kind}"], some[f"completion_{kind}"]], 1) for kind in ("ids", "mask"))
        mask = some["completion_mask"].bool()
        assert len(set(mask.sum(1).tolist())) > 1
        found = [
            trainer._get_per_token_logps_and_entropies(
                trainer.model, ids, there, mask.shape[1], batch_size=rows, compute_entropy=True
            )
            for rows in (None, 16, 3)
        ]
    for one in found[1:]:
        for whole, lots in zip(found[0][:2], one[:2], strict=True):
            assert torch.allclose(whole[mask], lots[mask], atol=1e-5)


def test_groups_without_anything_to_learn_are_sampled_again_with_other_problems(tmp_path: Path) -> None:
    with tiny(tmp_path, "dapo(limit=64, cache=8)", refill=2, rows=12, limit=64) as trainer:
        asked: list[list[tuple[int, str]]] = []
        sample = trainer.source.sample
        trainer.source.sample = lambda asks: [asked.append([(a.group, a.problem.id) for a in asks]), sample(asks)][1]
        trainer.train()
        row = trainer.state.log_history[0]
    assert len(asked) > 1
    again = {group for group, _ in asked[1]}
    assert all(len([1 for group, _ in asked[1] if group == g]) == 4 for g in again)
    assert row["rollouts/spent"] > row["rollouts/length"] * 12 - 1e-6


def test_what_is_cut_is_verified_again(tmp_path: Path) -> None:
    with tiny(tmp_path, "dot(alpha=0, margin=1)", limit=256) as trainer:
        trainer.train()
        row = trainer.state.log_history[0]
    assert row["rollouts/accuracy"] < 1  # the longer ones of groups that were all right lost their answer
    assert row["rollouts/spent"] > row["rollouts/length"] * 8


def test_rollouts_by_trls_own_generation_are_cut_to_their_own_caps(tmp_path: Path) -> None:
    with tiny(tmp_path, "thinkprune(first=24, last=12, drop=12, stage_steps=1)", stock=True, steps=2) as trainer:
        trainer.train()
        one, two = (row for row in trainer.state.log_history if "rollouts/length" in row)
    assert (one["shaping/cap"], two["shaping/cap"]) == (24, 12)
    assert (one["completions/max_length"] <= 24, two["completions/max_length"] <= 12) == (True, True)


@pytest.mark.parametrize("spec", ["drpo(capacity=64)", "ceeh"])
def test_methods_that_read_the_policys_own_signals_train(tmp_path: Path, spec: str) -> None:
    with tiny(tmp_path, spec, limit=96) as trainer:
        before = trainer.model.lm_head.weight.detach().clone()
        trainer.train()
        assert np.isfinite(trainer.state.log_history[0]["loss"])
        assert not torch.equal(before, trainer.model.lm_head.weight)


def test_a_group_that_a_method_steers_trains_on_the_tokens_that_it_names(tmp_path: Path) -> None:
    with tiny(tmp_path, "s-grpo(train=answer)", limit=128) as trainer:
        trainer.train()
        share, advantage = trainer._batch["share"], trainer._batch["advantage"]
        row = trainer.state.log_history[0]
    assert share.sum() == pytest.approx(1, abs=1e-6)  # a mean over eight rows, each over its own tokens
    assert (share > 0).sum() == row["rollouts/spent"] < row["rollouts/length"] * 8
    assert not advantage[share == 0].any()
    assert 0 < row["grad_norm"] < 100


def test_a_method_that_steers_is_refused_where_others_sample(tmp_path: Path) -> None:
    with pytest.raises(Unfit, match="s-grpo needs rollouts that it makes itself"), tiny(tmp_path, "s-grpo", stock=True):
        pass


def test_rollouts_on_their_way_go_through_checkpoints_and_a_resumed_training_ends_the_same(tmp_path: Path) -> None:
    spec = "ulorl(limit=128, segments=8, sigma=0)"
    saving = {"save_strategy": "steps", "save_steps": 1, "save_only_model": False}
    with tiny(tmp_path / "whole", spec, steps=3, limit=128, settings=saving) as trainer:
        trainer.train()
        whole, underway = trainer.model.state_dict(), trainer._underway
        logs = [row for row in trainer.state.log_history if "rollouts/accuracy" in row]
    assert any(row.parts for row in underway.rows)  # some were sampled under several weights
    assert {row.group for row in underway.rows} <= set(range(underway.groups))
    assert all(row["rollouts/underway"] == 8 for row in logs)  # as many as a step trains on
    with tiny(tmp_path / "parts", spec, steps=1, limit=128, settings=saving) as trainer:
        trainer.train()
    with tiny(tmp_path / "parts", spec, steps=3, limit=128, settings=saving) as trainer:
        checkpoint = latest_checkpoint(tmp_path / "parts")
        assert checkpoint is not None
        trainer.load_shaper_state(checkpoint)
        trainer.train(resume_from_checkpoint=str(checkpoint))
        assert trainer._underway == underway
        assert all(torch.equal(value, whole[name]) for name, value in trainer.model.state_dict().items())


def test_what_a_step_has_grown_trains_the_policy_and_what_has_ended_the_value_head(tmp_path: Path) -> None:
    with tiny(tmp_path, "t-ppo(window=32)", steps=5, limit=256) as trainer:
        trainer.train()
        logs = [row for row in trainer.state.log_history if "shaping/finished" in row]
        head = trainer.model.satisfice_value
        assert head.bias.item() > 0  # most answers are right, so it has come to expect something
        share, target = trainer._batch["share"], trainer._batch["column/value_weight"]
    assert (logs[0]["rollouts/spent"], logs[0]["shaping/finished"]) == (8 * 32, 0)
    assert logs[0]["grad_norm"] == 0  # nothing has ended, and the head expects nothing
    assert any(row["shaping/finished"] > 0 and row["loss/value_loss"] > 0 for row in logs)
    assert all(row["shaping/new_tokens"] == row["rollouts/spent"] for row in logs)
    assert share.sum() == pytest.approx(1, abs=1e-6)
    assert (share > 0).sum() == logs[-1]["rollouts/spent"]
    assert set(np.unique((target > 0).any(axis=1))) <= {False, True}


def test_remembered_rollouts_take_the_places_of_groups_that_say_nothing(tmp_path: Path) -> None:
    # Most rollouts run into this limit: a right one is something special, and many groups have none.
    with tiny(
        tmp_path, "spear(imitate=1, only_with_tools=false, advantage=grpo(kl=0))", limit=72, steps=3, rows=16
    ) as trainer:
        trainer.train()
        logs = [row for row in trainer.state.log_history if "rollouts/replayed" in row]
        state, batch = trainer.shaper_state, trainer._batch
    assert logs[0]["rollouts/replayed"] == 0  # there is nothing to remember yet
    assert logs[-1]["shaping/remembered"] == len([one for one in state["memory"] if one["step"] < 2])
    replayed = ~np.isnan(batch["behaviour"]).all(axis=1)
    assert replayed.sum() == logs[-1]["rollouts/replayed"] > 0
    assert batch["share"][replayed].sum() == pytest.approx(1)  # its full weight from the second step on
    assert (batch["advantage"][replayed].max(axis=1) > 0).all()
    assert not batch["plain_share"][replayed].any()
    assert 0 < logs[-1]["grad_norm"] < 100


def test_a_method_that_nobody_knows_brings_its_own_term_of_the_loss(tmp_path: Path) -> None:
    Held = beside("toy").Held

    with tiny(tmp_path, Held(weight=0.0), steps=1) as trainer:
        trainer.train()
        without = trainer.state.log_history[0]["grad_norm"]
    with tiny(tmp_path, Held(weight=2.0), steps=1) as trainer:
        trainer.train()
        logs = trainer.state.log_history[0]
    assert logs["loss/held"] == pytest.approx(logs["rollouts/length_right"], rel=0.5)  # its column is the length
    assert without == 0  # no advantage at all, so what moves the weights is the term
    assert logs["grad_norm"] > 0


def test_two_modes_compete_and_the_first_token_is_pulled_towards_the_wanted_one(tmp_path: Path) -> None:
    from satisfice.training.trl_source import LocalSource

    spec = (
        "adaptive-deep-reasoning(theta=0, weight=5, advantage=grpo(kl=0))"  # brevity is wanted whenever it can be had
    )
    with tiny(tmp_path, spec, limit=128, steps=3) as trainer:
        assert isinstance(trainer.source, LocalSource)
        trainer.train()
        logs = [row for row in trainer.state.log_history if "loss/mode_hinge" in row]
    assert logs[0]["loss/mode_hinge"] > 1  # it always thinks, so being brief is far from the margin
    assert logs[-1]["loss/mode_hinge"] < logs[0]["loss/mode_hinge"]
    assert all(row["rollouts/length_right"] < 200 for row in logs)


@pytest.mark.parametrize(
    ("spec", "more", "error", "message"),
    [
        ("odin", {}, Unfit, "odin reads score"),
        ("ulorl", {"refill": 1}, BadInput, "grow over several steps"),
        ("ulorl", {"stock": True}, Unfit, "ulorl needs rollouts that go on .* --rollouts local"),
        ("drpo", {"settings": {"steps_per_generation": 2}, "parts": 1, "rows": 8}, Unfit, "anew before each update"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(
    tmp_path: Path, spec: str, more: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message), tiny(tmp_path, spec, **more):
        pass


def test_prompts_state_their_budgets_and_rewards_are_measured_against_them(tmp_path: Path) -> None:
    with tiny(tmp_path, "curriculum-budget(start=64, interval=1)", steps=2) as trainer:
        decode = trainer.processing_class.decode
        seen = []
        roll = trainer.roll

        def rolled(questions: Any) -> Any:
            found = roll(questions)
            seen.extend(decode(ids) for ids in found["prompt_ids"])
            return found

        trainer.roll = rolled
        trainer.train()
        logs = [row for row in trainer.state.log_history if "shaping/budget" in row]
    assert [row["shaping/budget"] for row in logs] == pytest.approx([64, 44.8])
    assert all("Use at most 64 tokens." in text for text in seen[:8])
    assert all("Use at most 44 tokens." in text for text in seen[8:])
    assert len(seen) == 16


@pytest.mark.parametrize(("chosen", "worst"), [(None, -1), ("0/1", 0)])
def test_a_run_has_the_rewards_that_its_method_is_made_for_unless_it_chooses(
    tmp_path: Path, chosen: str | None, worst: int
) -> None:
    with tiny(tmp_path, "dapo(keep=none)", rewards=chosen) as trainer:
        trainer.train()
        (row,) = [row for row in trainer.state.log_history if "rollouts/reward" in row]
    right = row["rollouts/accuracy"]
    assert row["rollouts/reward"] == pytest.approx(right + worst * (1 - right))


def test_a_divergence_in_the_rewards_is_that_from_where_the_training_began(tmp_path: Path) -> None:
    with tiny(tmp_path, "lp-sigmoid(form=code, advantage=rloo(kl=0.5))") as trainer:
        with torch.no_grad():
            for weight in trainer.model.parameters():
                weight.mul_(1.01)
        trainer._generate_and_score_completions(inputs_of(trainer))
        advantage, shaper = trainer._batch["advantage"], trainer.shaper
        spread = max(float(np.ptp(line[line != 0])) for line in advantage if (line != 0).any())
        assert spread > 1e-3, "within a rollout only the divergence makes a difference"
        trainer.train()
        assert np.isfinite(trainer.state.log_history[0]["grad_norm"])
        assert shaper.loss.kl_in == "reward"
        assert "loss/kl" not in trainer.state.log_history[0]


def test_a_checkpoint_of_another_method_or_without_its_end_is_not_taken(tmp_path: Path) -> None:
    from satisfice.methods.shaping.grpo import Grpo
    from satisfice.methods.shaping.laser_d import LaserD

    for number, text in ((5, '{"shaper": "grpo", "state": {}}'), (9, None)):
        (tmp_path / f"checkpoint-{number}").mkdir()
        if text:
            (tmp_path / f"checkpoint-{number}" / "satisfice.json").write_text(text)
    assert latest_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    assert read_state(tmp_path / "checkpoint-5", Grpo(), "0/1") == {}
    with pytest.raises(BadInput, match="training with grpo, not laser-d"):
        read_state(tmp_path / "checkpoint-5", LaserD(), "0/1")
    with pytest.raises(BadInput, match="no readable satisfice"):
        read_state(tmp_path / "checkpoint-9", Grpo(), "0/1")
    with pytest.raises(BadInput, match=r"rewards of 0/1, not \+-1"):
        read_state(tmp_path / "checkpoint-5", Grpo(), "+-1")


def test_two_processes_give_the_same_advantages_as_one(tmp_path: Path) -> None:
    script = Path(__file__).with_name("tiny.py")
    spec = "kimi-length(advantage=grpo(kl=0, aggregation=token))"
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    outs = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        out.mkdir()
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        launch = [sys.executable] if processes == 1 else launch
        done = subprocess.run(
            [*launch, str(script), str(out), spec, str(processes)], env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-3000:]
        outs.append([json.loads((out / f"process-{n}.json").read_text()) for n in range(processes)])
    (one,), two = outs
    for name, values in one["batch"].items():
        assert values == [*two[0]["batch"][name], *two[1]["batch"][name]]
    for part in two:
        assert part["state"] == one["state"]
        assert part["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)
        assert part["weights"] == pytest.approx(one["weights"], rel=1e-4, abs=1e-4)
