"""Between verl's tensors and shapers: what needs neither verl nor a model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.core.problem import Verdict
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import Loss, Shaped
from satisfice.training.verl.batch import More, advantages_for, read_reward, reward_of, rollouts_of
from satisfice.training.verl.estimator import Estimator


@given(st.lists(st.tuples(st.sampled_from(list(Verdict)), st.booleans()), min_size=1))
def test_a_verdict_goes_through_the_one_number_and_back(rows: list[tuple[Verdict, bool]]) -> None:
    reward = np.array([np.float32(reward_of(*row)) for row in rows], dtype=np.float64)
    correct, truncated, known = read_reward(reward)
    for i, (verdict, cut) in enumerate(rows):
        assert known[i] == (verdict is not Verdict.UNKNOWN)
        if known[i]:
            assert (correct[i], truncated[i]) == (verdict is Verdict.RIGHT, cut)


@pytest.mark.parametrize("reward", [-1.0, 0.5, 1.5, 2.0, 0.999])
def test_a_reward_that_says_something_else_is_refused(reward: float) -> None:
    with pytest.raises(BadInput, match=r"reward_manager\.name=satisfice"):
        read_reward(np.array([1.0, reward]))


def example() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Five rows: right, wrong and cut, unknown, right, and one that only fills up; six tokens wide."""
    length = np.array([3, 6, 2, 4, 0])
    mask = np.arange(6) < length[:, None]
    mask[3, 1] = False  # injected
    reward = np.zeros((5, 6))
    for row, (verdict, cut) in enumerate(
        [(Verdict.RIGHT, False), (Verdict.WRONG, True), (Verdict.UNKNOWN, False), (Verdict.RIGHT, False)]
    ):
        reward[row, length[row] - 1] = reward_of(verdict, cut)
    return reward, mask, np.array(["a", "a", "b", "b", "c"], dtype=object)


def test_rows_of_known_verdict_become_a_batch() -> None:
    batch, rows = rollouts_of(*example())
    assert rows.tolist() == [0, 1, 3]
    assert batch.correct.tolist() == [True, False, True]
    assert batch.truncated.tolist() == [False, True, False]
    assert batch.length.tolist() == [3, 6, 3]
    assert batch.groups.size.tolist() == [2, 2, 1]
    assert batch["mask"].sum(axis=1).tolist() == [3, 6, 3]


def test_what_the_trainer_knows_comes_along() -> None:
    more = More(
        prompt=np.array(list("pqrst")),
        length=np.array([3, 6, 2, 5, 0]),
        columns={"budget": np.arange(5.0)},
        tokens={"ids": np.arange(30).reshape(5, 6)},
    )
    batch, _ = rollouts_of(*example(), more)
    assert batch.prompts() == ["p", "q", "s"]
    assert batch.length.tolist() == [3, 6, 5]  # also what the loss does not count
    assert batch["budget"].tolist() == [0, 1, 3]
    assert batch["ids"][2].tolist() == list(range(18, 24))


def test_a_batch_without_one_verdict_is_refused() -> None:
    reward, mask, group = example()
    with pytest.raises(BadInput, match="not one verdict"):
        rollouts_of(reward[2:3], mask[2:3], group[2:3])


@pytest.mark.parametrize("aggregation", ["token", "sequence", "constant"])
def test_weights_and_rows_left_out_give_the_shapers_loss_by_verls_averages(aggregation: str) -> None:
    """verl divides by all tokens, or all rows; the result must be what `Loss.policy_loss` says."""
    rng = np.random.default_rng(0)
    reward, mask, group = example()
    batch, rows = rollouts_of(reward, mask, group)
    shaped = Shaped(
        advantage=rng.normal(size=(3, 6)), reward=np.ones(3), keep=np.array([True, True, False]),
        weight=rng.uniform(0, 2, size=3),
    )  # fmt: skip
    loss = Loss(aggregation=aggregation, constant=10, clip_high=0.28, dual_clip=3.0)  # type: ignore[arg-type]
    logprob = rng.normal(size=(5, 6)) - 2
    old = logprob + rng.normal(size=(5, 6)) * 0.4
    tokens = loss.token_loss(np.exp(logprob - old), advantages_for(shaped, loss, mask, rows)) * mask
    by_verl = {
        "token": tokens.sum() / mask.sum(),
        "sequence": (tokens.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)).sum() / 5,
        "constant": tokens.sum() / (5 * 10),
    }[aggregation]
    assert by_verl == pytest.approx(loss.policy_loss(shaped, logprob[rows], old[rows], batch["mask"]), rel=1e-9)


def test_a_shaper_sees_the_same_batch_whatever_fills_it_up() -> None:
    reward, mask, group = example()
    wide = [np.concatenate([x, np.zeros((5, 3), x.dtype)], axis=1) for x in (reward, mask)]
    one, two = rollouts_of(reward, mask, group)[0], rollouts_of(*wide, group)[0]
    for name in Rollouts.__dataclass_fields__.keys() & {"correct", "length", "truncated", "reward"}:
        assert np.array_equal(getattr(one, name), getattr(two, name))


def test_the_estimator_gives_a_method_the_rewards_that_it_is_made_for() -> None:
    for spec, kind, wrong in (("dapo", None, -1), ("dapo", "0/1", 0), ("grpo", None, 0), ("grpo", "+-1", -1)):
        settings = {"shaper": spec, **({} if kind is None else {"reward_range": kind})}
        estimator = Estimator(spec)
        estimator.settle(settings)
        reward, mask, group = example()
        batch, _ = rollouts_of(reward, mask, group, None, estimator.rewards)
        assert batch.reward.tolist() == [1, wrong, 1]
    with pytest.raises(BadInput, match="reward_range must be 0/1 or"):
        Estimator("grpo").settle({"shaper": "grpo", "reward_range": "0..1"})
