"""Adaptive consistency: when the vote is decided, and what is not asked any more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.parallel.stage import answers, begun, play

from satisfice.core.errors import BadInput
from satisfice.methods.parallel.adaptive_consistency import (
    AdaptiveConsistency,
    Criterion,
    decided,
    leads,
    leads_all,
    normalised_entropy,
)
from satisfice.methods.stopping.fixed_budget import FixedBudget


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [(1, 0, 0.75), (2, 0, 0.875), (3, 0, 0.9375), (4, 0, 0.9688), (3, 1, 0.8125), (5, 1, 0.9375), (6, 1, 0.9648),
     (7, 2, 0.9453)],
)  # fmt: skip
def test_golden_values(first: int, second: int, p: float) -> None:
    assert leads(first, second) == pytest.approx(p, abs=1e-4)


@given(st.integers(0, 40), st.integers(0, 40))
def test_the_leader_is_as_likely_to_lead_as_its_rival_is_not(first: int, second: int) -> None:
    assert leads(first, second) + leads(second, first) == pytest.approx(1)
    assert leads(first + 1, second) > leads(first, second)


def test_four_chains_that_agree_are_enough() -> None:
    solution, _ = play(AdaptiveConsistency(), answers("12", "12", "12", "12", "7"))
    assert (solution.text, len(begun(solution))) == ("12", 4)


def test_one_against_it_takes_seven() -> None:
    solution, _ = play(AdaptiveConsistency(), answers("7", *["12"] * 9))
    assert (solution.text, len(begun(solution))) == ("12", 7)


def test_chains_without_an_answer_count_towards_the_cap_and_not_in_the_vote() -> None:
    solution, _ = play(AdaptiveConsistency(n=5), answers("", "", "12", "", "12"))
    assert (solution.text, len(begun(solution))) == ("12", 5)
    nothing, _ = play(AdaptiveConsistency(n=3), answers("", "", ""))
    assert (nothing.text, len(begun(nothing))) == ("", 3)


def test_a_wave_is_paid_whole_and_ends_sooner() -> None:
    one, _ = play(AdaptiveConsistency(n=6), answers("12"))
    three, _ = play(AdaptiveConsistency(n=6, wave=3), answers("12"))
    assert (len(begun(one)), len(begun(three))) == (4, 6)
    assert three.ledger.steps < one.ledger.steps, "waves run side by side, single chains after one another"
    assert one.ledger.steps == 4 * one.ledger.kept


def test_at_the_cap_a_tie_goes_to_the_answer_seen_first() -> None:
    assert play(AdaptiveConsistency(n=4), answers("7", "12", "12", "7"))[0].text == "7"


@pytest.mark.parametrize(
    ("criterion", "counts", "is_decided"),
    [
        ("dirichlet", [4], True), ("dirichlet", [3], False), ("dirichlet", [12, 1, 1], True),
        ("dirichlet", [3, 2, 2], False), ("dirichlet", [], False), ("entropy", [9, 1], True),
        ("entropy", [2, 1], False), ("majority", [4, 1], True), ("majority", [3, 1], False), ("beta", [], False),
    ],
)  # fmt: skip
def test_other_criteria(criterion: str, counts: list[int], is_decided: bool) -> None:
    assert decided(counts, criterion) is is_decided  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("criterion", "counts", "is_decided"),
    [
        ("majority", [2], True), ("majority", [1], False), ("entropy", [4], True), ("entropy", [3], False),
        ("entropy", [1], False), ("entropy", [], False), ("majority", [], False),
    ],
)  # fmt: skip
def test_a_unanimous_vote_is_decided_from_two_samples_on(
    criterion: Criterion, counts: list[int], is_decided: bool
) -> None:
    assert decided(counts, criterion) is is_decided


@settings(max_examples=200)
@given(st.integers(2, 60))
def test_a_majority_of_all_is_decided_and_one_sample_never_is(n: int) -> None:
    assert decided([n], "majority")
    assert decided([n], "entropy") is (n >= 4)
    assert not any(decided([1], criterion, 0.0) for criterion in ("entropy", "majority"))  # type: ignore[arg-type]


@settings(max_examples=200)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=7))
def test_counts_of_zero_and_the_order_of_answers_change_nothing(counts: list[int]) -> None:
    for criterion in ("beta", "dirichlet", "entropy", "majority"):
        said = decided(counts, criterion)  # type: ignore[arg-type]
        assert decided([0, *reversed(counts)], criterion) is said  # type: ignore[arg-type]


@given(st.lists(st.integers(1, 15), min_size=2, max_size=5))
def test_somebody_leads(counts: list[int]) -> None:
    each = [leads_all([n, *counts[:i], *counts[i + 1 :]]) for i, n in enumerate(counts)]
    assert sum(each) == pytest.approx(1, abs=1e-6)
    assert 0 <= normalised_entropy(counts) <= 1 + 1e-9


def test_unanimous_chains_end_the_asking_under_every_criterion() -> None:
    for criterion, chains in {"beta": 4, "dirichlet": 4, "entropy": 4, "majority": 2}.items():
        solution, _ = play(AdaptiveConsistency(criterion=criterion), answers("12"))  # type: ignore[arg-type]
        assert (solution.text, len(begun(solution))) == ("12", chains)


def test_every_chain_follows_the_inner_rule() -> None:
    solution, _ = play(AdaptiveConsistency(stop=FixedBudget(tokens=1)), answers("1", "2", "3", "4"))
    assert (solution.text, solution.ended, len(begun(solution))) == ("cut", "rule", 4)


def test_an_unknown_criterion_is_refused() -> None:
    with pytest.raises(BadInput, match="criterion must be one of beta"):
        AdaptiveConsistency(criterion="gamma")  # type: ignore[arg-type]
