"""The cost of a step: by hand on small cases, and what control of the rollouts must and must not change in it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.training.cost import (
    Machine,
    beginnings,
    fit,
    running,
    segmented,
    serial_group,
    step_cost,
    truncated,
)

ONE = Machine(base=1.0, row=0.1, token=0.01, fixed=5.0)
LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=30)


def test_a_step_by_hand() -> None:
    step = step_cost(ONE, [1, 3, 2])
    assert step.generate == pytest.approx(3 * 1.0 + 6 * 0.1)
    assert step.train == pytest.approx(5 + 0.06)
    assert (step.sampled, step.trained, step.occupancy) == (6, 6, pytest.approx(2 / 3))
    assert step.total == step.generate + step.train


def test_rollouts_beyond_the_slots_begin_when_one_ends() -> None:
    assert running([1, 3, 2], slots=2).tolist() == [2, 2, 2]
    assert running([2, 2], slots=1).tolist() == [1] * 4


@given(LENGTHS, st.integers(1, 40))
def test_every_token_is_sampled_once_and_no_slot_is_used_twice(lengths: list[int], slots: int) -> None:
    rows = running(lengths, slots)
    assert rows.sum() == sum(lengths)
    assert rows.max() <= min(slots, len(lengths))
    assert rows.min() >= 1
    assert max(lengths) <= len(rows) <= sum(lengths)


@given(LENGTHS, st.integers(1, 200))
def test_a_cap_never_makes_a_step_dearer(lengths: list[int], cap: int) -> None:
    assert step_cost(ONE, truncated(lengths, cap)).total <= step_cost(ONE, lengths).total + 1e-9


def test_one_long_rollout_costs_its_length_in_nearly_empty_steps_and_segments_fill_them() -> None:
    rng = np.random.default_rng(0)
    draw = np.minimum(np.exp(rng.normal(4.6, 0.9, 4096)), 2000).astype(int).tolist()  # 5 % are longer than 440
    plain = [step_cost(ONE, draw[i * 64 : (i + 1) * 64]) for i in range(40)]
    parts = segmented(ONE, draw, groups=8, size=8, segment=250, steps=40)
    window = segmented(ONE, draw, groups=8, size=8, segment=250, steps=40, whole=False)
    assert np.mean([s.occupancy for s in plain]) < 0.25
    assert np.mean([s.occupancy for s in parts]) > 1.5 * np.mean([s.occupancy for s in plain])
    per_token = [sum(s.generate for s in run[5:]) / sum(s.sampled for s in run[5:]) for run in (plain, parts, window)]
    assert per_token[1] < 0.8 * per_token[0]
    assert per_token[2] < per_token[0]


@given(st.integers(0, 20), st.integers(10, 300))
def test_in_the_long_run_segments_sample_what_plain_steps_do(seed: int, segment: int) -> None:
    rng = np.random.default_rng(seed)
    draw = rng.integers(1, 200, 512).tolist()
    steps = segmented(ONE, draw, groups=2, size=4, segment=segment, steps=30)
    trained = sum(s.trained for s in steps)
    assert trained <= sum(s.sampled for s in steps) <= trained + 4 * 2 * 4 * 200  # what is still on its way


def test_exits_sample_one_chain_and_some_answers_where_a_group_samples_every_chain() -> None:
    serial, plain = serial_group(ONE, [400] * 4, exits=7, answer=5), step_cost(ONE, [400] * 32)
    assert serial.sampled == 4 * 400 + 28 * 5
    assert serial.generate == pytest.approx(400 + 160 + 5 + 14)
    assert serial.generate < plain.generate / 2
    assert serial.trained < plain.trained


def test_continuations_sample_the_rest_of_each_rollout_again() -> None:
    step = beginnings(ONE, [100] * 8, eta=0.15, continuations=8)
    assert step.sampled == 800 + 64 * 85
    assert step.trained == 800


def test_sizes_and_machines() -> None:
    big = ONE.scaled(10)
    assert (big.base, big.row, big.token, big.fixed) == (10, 1, pytest.approx(0.1), 5)
    many = ONE.scaled(10, machines=4, efficiency=0.5)
    assert (many.base, many.row) == (10, 0.5)  # every machine reads all weights in every step


def test_a_machine_is_found_again_from_what_it_did() -> None:
    work = [(100, 3200), (300, 900), (50, 50)]
    found = fit([(s, t, s * 1.0 + t * 0.1) for s, t in work], [(t, 5 + 0.01 * t) for _, t in work], slots=8)
    assert (found.base, found.row, found.fixed, found.token) == pytest.approx((1, 0.1, 5, 0.01))
    only = fit([(10, 100, 10.0), (20, 100, 10.0)], [(1, 1.0), (2, 2.0)], slots=8)
    assert only.base >= 0
    assert only.row >= 0


@pytest.mark.parametrize("changes", [{"base": -1}, {"slots": 0}, {"token": float("nan")}])
def test_what_cannot_be_is_refused(changes: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="Machine"):
        Machine(**{"base": 1, "row": 1, "token": 1, **changes})  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="at least two"):
        fit([(1, 1, 1.0)], [(1, 1.0)], slots=1)
