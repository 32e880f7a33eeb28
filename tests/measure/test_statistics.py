import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from satisfice.measure.intervals import RESAMPLES
from satisfice.measure.statistics import (
    LEAST_PROBLEMS,
    LEAST_SAVING,
    gain_at_equal_spending,
    mcnemar_p,
    paired,
    result_rows,
    summary,
    verdict,
)
from satisfice.measure.subject import Subject, cross


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
    # d = (18 - 8) / 500 = .02; the normal interval is [.0001, .0399], the exact one a little wider
    row = paired(*discordant(18, 8, 500))
    assert row["delta_accuracy"] == pytest.approx(0.02)
    assert row["delta_accuracy_low"] == pytest.approx(-0.0022, abs=5e-4)
    assert row["delta_accuracy_high"] == pytest.approx(0.0432, abs=5e-4)
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


def test_accuracy_leaves_unknown_and_failures_out_and_counts_no_answer_as_wrong():
    found = summary(cell([
        sample(problem="a"), sample(problem="b", verdict="unknown"), sample(problem="c", verdict="wrong", answer=None),
        sample(problem="d", verdict="error", answer=None, error="ValueError: no", spent=7),
    ]))  # fmt: skip
    assert found["accuracy"] == pytest.approx(1 / 2)
    assert (found["unknown_rate"], found["no_answer_rate"], found["error_rate"]) == (1 / 3, 1 / 3, 0.25)
    assert (found["errors"], found["first_error"], found["judged"], found["n"]) == (1, "ValueError: no", 2, 4)
    assert found["spent"] == 100  # what a failed sample spent says nothing about the rule


def test_an_interval_stays_honest_when_everything_is_right():
    found = summary(cell(sample(problem=f"{i}") for i in range(20)))
    assert found["accuracy_high"] == pytest.approx(1.0)
    assert found["accuracy_low"] == pytest.approx(0.025 ** (1 / 20))  # Clopper and Pearson's
    seeds = summary(cell(sample(problem=f"{i}", seed=s) for i in range(20) for s in range(8)))
    assert seeds["accuracy_low"] == pytest.approx(found["accuracy_low"])  # eight seeds of 20 problems are no 160


def test_without_a_baseline_nothing_is_compared():
    (row,) = result_rows([sample("deer", f"{i}") for i in range(5)], subjects=[Subject("", "deer")], tasks=["t"])
    assert row["verdict"] == "no baseline"
    assert row["delta_accuracy"] is None
    assert row["saving_low"] is None


def test_one_problem_says_almost_nothing():
    row = paired(cell([sample("a")]), cell([sample("full")]))
    assert row["delta_accuracy"] == 0.0
    assert row["delta_accuracy_low"] == pytest.approx(-0.975)
    assert row["saving_low"] is None
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
    row = {
        "paired": 500, "margin": 0.02, "delta_accuracy_low": -0.021, "delta_accuracy_high": 0.05, "saving_low": 0.5,
        "least_saving": LEAST_SAVING,
    }  # fmt: skip
    assert verdict(row, baseline_right=True) == "no claim"
    assert verdict({**row, "delta_accuracy_low": -0.019}, baseline_right=True) == "saves"
    assert verdict({**row, "delta_accuracy_low": -0.019, "saving_low": 0.0099}, baseline_right=True) == "no saving"
    assert verdict({**row, "delta_accuracy_low": -0.019}, baseline_right=False) == "no claim"
    assert (
        verdict({**row, "delta_accuracy_low": -0.019, "paired": LEAST_PROBLEMS - 1}, baseline_right=True) == "no claim"
    )


def settled(n, *, ours="right", theirs="right", saving=0.5, **rest):
    """A policy and `full` on `n` problems with the same verdicts everywhere."""
    a = cell(sample("a", f"{i}", verdict=ours, spent=round(1000 * (1 - saving)), **rest) for i in range(n))
    return a, cell(sample("full", f"{i}", verdict=theirs, spent=1000) for i in range(n))


def test_unknown_verdicts_do_not_count_towards_what_a_claim_needs():
    ours, theirs = settled(2000)
    assert paired(ours, theirs)["verdict"] == "saves"
    for i in range(1998):
        ours[f"{i}", 0]["verdict"] = "unknown"
    row = paired(ours, theirs)
    assert (row["verdict"], row["paired"], row["pairs"]) == ("no claim", 2, 2)


def test_a_saving_of_a_thousandth_is_none():
    assert paired(*settled(2000, saving=0.001))["verdict"] == "no saving"
    assert paired(*settled(2000, saving=0.02))["verdict"] == "saves"


def test_nothing_is_saved_where_the_baseline_is_never_right():
    assert paired(*settled(2000, ours="wrong", theirs="wrong"))["verdict"] == "no claim"


def test_one_failure_leaves_a_policy_without_saving_and_verdict():
    ours, theirs = settled(2000)
    for broken in (ours, theirs):
        whole = dict(broken["7", 0])
        broken["7", 0] |= {"error": "EngineError: gone", "verdict": "error", "answer": None}
        row = paired(ours, theirs)
        assert (row["verdict"], row["saving"], row["delta_accuracy"], row["pairs"]) == ("error", None, None, 0)
        assert paired(theirs, theirs, is_baseline=True)["verdict"] == ("error" if broken is theirs else "baseline")
        broken["7", 0] |= whole
    assert paired(ours, theirs)["verdict"] == "saves"


def test_problems_that_ask_the_same_question_count_once():
    def asked(policy, copies):
        return cell(
            sample(policy, f"{i}-{c}", verdict="right" if i % 9 else "wrong", spent=100 + i)
            | {"question_digest": f"q{i}"}
            for i in range(60)
            for c in range(copies)
        )

    once, tenfold = summary(asked("a", 1)), summary(asked("a", 10))
    assert (tenfold["n"], tenfold["problems"], tenfold["samples"]) == (60, 600, 600)
    for name in ("accuracy", "accuracy_low", "accuracy_high", "spent"):
        assert tenfold[name] == pytest.approx(once[name]), name
    one, ten = paired(asked("a", 1), asked("full", 1)), paired(asked("a", 10), asked("full", 10))
    assert ten["paired"] == one["paired"] == 60
    assert ten["delta_accuracy_low"] == pytest.approx(one["delta_accuracy_low"])


ASKED = st.lists(
    st.tuples(st.booleans(), st.booleans(), st.integers(1, 500), st.integers(1, 5)), min_size=1, max_size=8
)


def asked_again(asked, *, repeats):
    """Return the samples of three policies on questions that are asked under one id, or under several."""
    return [
        sample(policy, f"{i}-{c}", verdict="right" if right else "wrong", spent=spent) | {"question_digest": f"q{i}"}
        for i, (ours, theirs, tokens, copies) in enumerate(asked)
        for policy, right, spent in (("full", theirs, tokens + 9), ("first-cue", ours, 1), ("a", ours, tokens))
        for c in range(copies if repeats else 1)
    ]


def differing(once, often):
    apart = {"problems", "samples", "pairs", "mcnemar_p", "p50_s", "p95_s"}
    return [name for name in once.keys() - apart if often[name] != pytest.approx(once[name], abs=1e-9)]


@settings(max_examples=200, deadline=None)
@given(ASKED)
def test_a_question_has_one_weight_however_often_it_is_asked(asked):
    """For each question who solves it, what that takes, and under how many ids it is asked."""
    once, often = (
        summary(cell(row for row in asked_again(asked, repeats=repeats) if row["policy"] == "a"))
        for repeats in (False, True)
    )
    assert often["problems"] == sum(copies for *_, copies in asked)
    assert not differing(once, often)


@settings(max_examples=8, deadline=None)
@given(ASKED)
def test_what_is_compared_weighs_questions_too(asked):
    subjects = cross([""], [""], ["full", "first-cue", "a"])
    once, often = (
        result_rows(asked_again(asked, repeats=repeats), subjects=subjects, tasks=["t"]) for repeats in (False, True)
    )
    assert not [differing(*both) for both in zip(once, often, strict=True) if differing(*both)]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 300), st.integers(0, 300), st.integers(0, 300), st.integers(0, 40), st.floats(-0.5, 0.9),
       st.booleans(), st.integers(0, 1))  # fmt: skip
def test_a_claim_needs_judged_pairs_a_baseline_that_is_right_and_no_failure(n, unknown, lost, wrong, saving, fails, by):
    ours, theirs = settled(n, saving=saving)
    for i in range(min(unknown, n)):
        (ours, theirs)[by][f"{i}", 0]["verdict"] = "unknown"
    judged = [i for i in range(n) if i >= unknown]
    for i in judged[:lost]:
        ours[f"{i}", 0]["verdict"] = "wrong"
    for i in judged[len(judged) - wrong :] if wrong else []:
        ours[f"{i}", 0]["verdict"] = theirs[f"{i}", 0]["verdict"] = "wrong"
    if fails:
        ours["0", 0] |= {"error": "ValueError: no", "verdict": "error"}
    row = paired(ours, theirs)
    right = sum(theirs[f"{i}", 0]["verdict"] == "right" for i in judged)
    if fails:
        assert (row["verdict"], row["saving"], row["delta_accuracy"]) == ("error", None, None)
        return
    assert (row["paired"], row["pairs"]) == (len(judged), len(judged))
    if len(judged) < LEAST_PROBLEMS or right == 0:
        assert row["verdict"] == "no claim"
    if row["verdict"] == "saves":
        assert row["delta_accuracy_low"] > -row["margin"]
        assert row["saving_low"] >= LEAST_SAVING
    if judged:
        assert row["delta_accuracy_low"] < row["delta_accuracy_high"]  # never of width zero
        assert row["delta_accuracy_low"] <= row["delta_accuracy"] <= row["delta_accuracy_high"]


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
    rows = result_rows(samples, subjects=cross([""], [""], ["full", "a"]), tasks=["t"])
    same = rows[1]
    assert same["saving"] == (0.0 if same["pairs"] else None)
    assert same["saving_low"] in (0.0, None)
    assert same["saving_high"] in (0.0, None)
    assert same["delta_accuracy"] in (0.0, None)
    if same["delta_accuracy"] is not None:
        assert same["delta_accuracy_low"] == pytest.approx(-same["delta_accuracy_high"])
        assert same["delta_accuracy_low"] < 0  # equal on a few problems is not equal
    random.shuffle(samples)
    assert result_rows(samples, subjects=cross([""], [""], ["full", "a"]), tasks=["t"]) == rows


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
        assert found["gain"] == 0.0
        assert -0.03 < found["gain_low"] < 0 < found["gain_high"] < 0.03  # known to what 200 problems can tell


@pytest.mark.parametrize("spent", [40, 160])
def test_the_frontier_is_never_drawn_further(spent):
    found = gain_at_equal_spending(cell(sample("a", f"{i}", spent=spent) for i in range(200)), frontier())
    assert found["gain"] is None
    assert found["spent"] == spent


def test_two_thousand_problems_take_a_moment():
    import time

    samples = [sample(p, f"{i}", spent=100 + i % 7) for p in ("full", "a", "b") for i in range(2000)]
    before = time.process_time()
    result_rows(samples, subjects=cross([""], [""], ["full", "a", "b"]), tasks=["t"])
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
    rows = {row["policy"]: row for row in result_rows(samples, subjects=cross([""], [""], policies), tasks=["t"])}
    assert rows["deer"]["gain_over_cap"] == pytest.approx(1 - (0.5 + 0.5 * 90 / 150))
    assert rows["deer"]["gain_over_first_cue"] == pytest.approx(1 - (0.75 + 0.25 * 60 / 120))
    assert rows["deer"]["gain_over_first_cue_low"] > 0
    assert {rows[plain]["gain_over_cap"] for plain in policies[:3]} == {None}
