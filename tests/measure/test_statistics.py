import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from satisfice.measure.statistics import (
    RESAMPLES,
    gain_at_equal_spending,
    mcnemar_p,
    paired,
    result_rows,
    summary,
    verdict,
)


def sample(policy="full", problem="p", seed=0, *, verdict="right", spent=100, answer="1", error="", wall_s=1.0):
    return {
        "policy": policy, "task": "t", "problem": problem, "seed": seed, "verdict": verdict,
        "verdict_flexible": verdict, "answer": answer, "truncated": False, "error": error, "kept": spent, "probe": 0,
        "dropped": 0, "spent": spent, "injected": 0, "prefilled": 0, "steps": spent, "wall_s": wall_s,
        "thinking_tokens": spent,
    }  # fmt: skip


def cell(samples):
    return {(s["problem"], s["seed"]): s for s in samples}


def discordant(gained, lost, n):
    """`n` pairs, of which the first `gained` are right only for `a` and the next `lost` only for `full`."""
    ours = ["right"] * gained + ["wrong"] * lost + ["right"] * (n - gained - lost)
    theirs = ["wrong"] * gained + ["right"] * lost + ["right"] * (n - gained - lost)
    a = [sample("a", f"{i}", verdict=v, spent=50) for i, v in enumerate(ours)]
    b = [sample("full", f"{i}", verdict=v, spent=100) for i, v in enumerate(theirs)]
    return cell(a), cell(b)


def test_worked_example_of_mcnemar_18_against_8_of_500():
    assert mcnemar_p(18, 8) == pytest.approx(0.0755, abs=5e-5)
    assert mcnemar_p(8, 18) == mcnemar_p(18, 8)
    assert mcnemar_p(0, 0) == 1.0


def test_worked_example_of_the_paired_difference():
    # d = (18 - 8) / 500 = .02; the bootstrap's percentile interval is about [0, .04], the normal one [.0001, .0399]
    row = paired(*discordant(18, 8, 500))
    assert row["delta_accuracy"] == pytest.approx(0.02)
    assert row["delta_accuracy_low"] == pytest.approx(0.0, abs=0.0021)
    assert row["delta_accuracy_high"] == pytest.approx(0.04, abs=0.0021)
    assert row["mcnemar_p"] == pytest.approx(0.0755, abs=5e-5)
    assert row["saving"] == pytest.approx(0.5)
    assert row["verdict"] == "saves"


def test_the_interval_is_the_one_that_scipy_gives_for_the_same_columns():
    rng = np.random.default_rng(5)
    ours, theirs = rng.integers(20, 90, 40), rng.integers(60, 200, 40)
    a = cell(sample("a", f"{i:02}", spent=int(n)) for i, n in enumerate(ours))
    b = cell(sample("full", f"{i:02}", spent=int(n)) for i, n in enumerate(theirs))
    row = paired(a, b)
    found = bootstrap(
        (ours, theirs), lambda x, y, axis: 1 - x.sum(axis=axis) / y.sum(axis=axis), paired=True, vectorized=True,
        method="percentile", n_resamples=RESAMPLES, rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    assert row["saving_low"] == pytest.approx(found.low, abs=2e-3)
    assert row["saving_high"] == pytest.approx(found.high, abs=2e-3)
    assert row["saving"] == pytest.approx(1 - ours.sum() / theirs.sum())


def test_seeds_of_one_problem_stay_together():
    # 30 problems, each all right or all wrong: ten seeds say no more than one, so the interval must not shrink.
    def interval(seeds):
        found = summary(cell(sample(problem=f"{i}", seed=s, verdict="right" if i % 2 else "wrong")
                             for i in range(30) for s in range(seeds)))  # fmt: skip
        return found["accuracy_high"] - found["accuracy_low"]

    assert interval(10) == pytest.approx(interval(2), abs=1e-9)
    assert interval(10) > 0.9 * interval(1)


def test_accuracy_leaves_unknown_out_and_counts_no_answer_and_failure_as_wrong():
    found = summary(cell([
        sample(problem="a"), sample(problem="b", verdict="unknown"), sample(problem="c", verdict="wrong", answer=None),
        sample(problem="d", verdict="wrong", answer=None, error="ValueError: no"),
    ]))  # fmt: skip
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert (found["unknown_rate"], found["no_answer_rate"], found["error_rate"]) == (0.25, 0.5, 0.25)


def test_an_interval_stays_honest_when_everything_is_right():
    found = summary(cell(sample(problem=f"{i}") for i in range(20)))
    assert found["accuracy_high"] == pytest.approx(1.0)
    assert found["accuracy_low"] == pytest.approx(0.839, abs=1e-3)  # Wilson: 1 / (1 + 1.96^2 / 20)


def test_without_a_baseline_nothing_is_compared():
    (row,) = result_rows([sample("deer", f"{i}") for i in range(5)], policies=["deer"], tasks=["t"])
    assert row["verdict"] == "no baseline"
    assert row["delta_accuracy"] is None
    assert row["saving_low"] is None


def test_one_problem_gives_no_interval():
    row = paired(cell([sample("a")]), cell([sample("full")]))
    assert row["delta_accuracy"] == 0.0
    assert row["delta_accuracy_low"] is None
    assert row["verdict"] == "no claim"


@pytest.mark.parametrize(
    ("gained", "lost", "n", "expected"),
    [
        (0, 0, 200, "saves"),  # no pair differs
        (0, 0, 100, "no claim"),  # no pair differs either, but 1 - .025^(1/100) = 3.6 points may be lost
        (0, 1, 200, "no claim"),  # the bootstrap says -1.5 points at worst, the exact bound 2.75
        (0, 1, 400, "saves"),  # 1.4
        (0, 40, 400, "worse"),  # ten points lost
        (30, 32, 400, "no claim"),  # about equal, with too much noise
    ],
)
def test_verdicts(gained, lost, n, expected):
    assert paired(*discordant(gained, lost, n), margin=0.02)["verdict"] == expected


def test_as_accurate_without_a_saving_is_no_saving():
    a = cell(sample("a", f"{i}", spent=100) for i in range(300))
    b = cell(sample("full", f"{i}", spent=100) for i in range(300))
    assert paired(a, b)["verdict"] == "no saving"


def test_a_verdict_needs_bounds_not_point_estimates():
    row = {"pairs": 500, "margin": 0.02, "delta_accuracy_low": -0.021, "delta_accuracy_high": 0.05, "saving_low": 0.5}
    assert verdict(row, problems=500, gained=20, lost=20) == "no claim"
    assert verdict({**row, "delta_accuracy_low": -0.019}, problems=500, gained=20, lost=20) == "saves"


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"), st.integers(0, 2), st.sampled_from(["right", "wrong", "unknown"]),
        st.integers(1, 500),
    ),
    min_size=2, max_size=24, unique_by=lambda t: t[:2],
)  # fmt: skip


@settings(max_examples=10, deadline=None)
@given(SAMPLES, st.randoms(use_true_random=False))
def test_equal_policies_differ_by_exactly_nothing_and_order_does_not_matter(drawn, random):
    samples = [
        sample(policy, problem, seed, verdict=v, spent=spent)
        for policy in ("full", "a")
        for problem, seed, v, spent in drawn
    ]
    rows = result_rows(samples, policies=["full", "a"], tasks=["t"])
    same = rows[1]
    assert same["saving"] == 0.0
    assert same["saving_low"] in (0.0, None)
    assert same["saving_high"] in (0.0, None)
    assert same["delta_accuracy"] in (0.0, None)
    assert same["delta_accuracy_low"] in (0.0, None)
    assert same["delta_accuracy_high"] in (0.0, None)
    random.shuffle(samples)
    assert result_rows(samples, policies=["full", "a"], tasks=["t"]) == rows


@settings(max_examples=10, deadline=None)
@given(SAMPLES)
def test_bounds_surround_the_estimate(drawn):
    rows = summary(cell(sample("full", p, s, verdict=v, spent=n) for p, s, v, n in drawn))
    if rows["accuracy"] is not None and rows["accuracy_low"] is not None:
        assert rows["accuracy_low"] - 1e-9 <= rows["accuracy"] <= rows["accuracy_high"] + 1e-9
        assert rows["accuracy_low"] >= 0
        assert rows["accuracy_high"] <= 1 + 1e-9


def frontier(n=200):
    """cap:50 right on half of the problems, cap:150 on all."""
    low = cell(sample("cap50", f"{i}", spent=50, verdict="right" if i % 2 else "wrong") for i in range(n))
    high = cell(sample("cap150", f"{i}", spent=150) for i in range(n))
    return low, high


def test_gain_at_equal_spending_is_measured_from_the_line_between_neighbours():
    rule = cell(sample("a", f"{i}", spent=100, verdict="wrong" if i % 10 == 0 else "right") for i in range(200))
    found = gain_at_equal_spending(rule, frontier())
    assert found["gain"] == pytest.approx(0.9 - 0.75)  # the line is at .5 + (100 - 50) / 100 * .5
    assert found["gain_low"] < 0.15 < found["gain_high"]
    assert found["gain_low"] > 0


def test_gain_of_a_point_of_the_frontier_itself_is_nothing():
    low, high = frontier()
    for point in (low, high):
        found = gain_at_equal_spending(point, (low, high))
        assert [found["gain"], found["gain_low"], found["gain_high"]] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("spent", [40, 160])
def test_the_frontier_is_never_drawn_further(spent):
    found = gain_at_equal_spending(cell(sample("a", f"{i}", spent=spent) for i in range(200)), frontier())
    assert found["gain"] is None
    assert found["spent"] == spent


def test_two_thousand_problems_take_a_moment():
    import time

    samples = [sample(p, f"{i}", spent=100 + i % 7) for p in ("full", "a", "b") for i in range(2000)]
    before = time.process_time()
    result_rows(samples, policies=["full", "a", "b"], tasks=["t"])
    assert time.process_time() - before < 10  # seconds; it takes about one


def test_rows_say_what_a_rule_gains_over_the_plain_rules_at_equal_spending():
    n = 200
    samples = [
        *(sample("full", f"{i}", spent=200) for i in range(n)),
        *(sample("fixed-budget(tokens=50)", f"{i}", spent=50, verdict="right" if i % 2 else "wrong") for i in range(n)),
        *(sample("first-cue", f"{i}", spent=80, verdict="right" if i % 4 else "wrong") for i in range(n)),
        *(sample("deer", f"{i}", spent=140) for i in range(n)),
    ]
    policies = ["full", "fixed-budget(tokens=50)", "first-cue", "deer"]
    rows = {row["policy"]: row for row in result_rows(samples, policies=policies, tasks=["t"])}
    assert rows["deer"]["gain_over_cap"] == pytest.approx(1 - (0.5 + 0.5 * 90 / 150))
    assert rows["deer"]["gain_over_first_cue"] == pytest.approx(1 - (0.75 + 0.25 * 60 / 120))
    assert rows["deer"]["gain_over_first_cue_low"] > 0
    assert {rows[plain]["gain_over_cap"] for plain in policies[:3]} == {None}
