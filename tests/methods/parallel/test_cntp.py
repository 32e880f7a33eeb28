"""CNTP: how many trials, which of them stays, and what the others cost."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.parallel.stage import dropped, looks, play

from satisfice.core.engine import Request
from satisfice.core.errors import BadInput
from satisfice.engines.scripted import END
from satisfice.methods.parallel.cntp import Cntp, entropy, perplexity, processed, trials


@pytest.mark.parametrize(("h", "paper", "code"), [(1.4206, 9, 9), (0.4, 2, 3), (0.005, 1, 1), (1.6, 10, 10)])
def test_number_of_trials_of_the_worked_examples(h: float, paper: int, code: int) -> None:
    assert trials(h) == paper
    assert trials(h, rounding="code") == code


def test_perplexities_of_the_worked_example_and_that_the_likeliest_whole_does_not_win() -> None:
    pieces = [(0.45, 0.6, 0.9), (0.25, 0.9, 0.9, 0.95), (0.15, 0.5)]
    found = [perplexity(np.log(piece)) for piece in pieces]
    assert [round(p, 4) for p in found] == [1.6025, 1.51, 3.6515]
    assert np.prod(pieces[0]) > np.prod(pieces[1])


@given(st.lists(st.floats(-8, 0), min_size=2, max_size=12), st.floats(0.2, 1.0), st.floats(0.1, 1.0))
def test_temperature_below_1_and_top_p_only_lower_the_entropy(scores: list[float], warm: float, top_p: float) -> None:
    whole = np.sort(np.array(scores) - np.logaddexp.reduce(scores))[::-1]
    after = processed(whole, warm, top_p)
    assert np.exp(after).sum() == pytest.approx(1)
    assert entropy(after) <= entropy(whole) + 1e-9


def phrase(so_far: str, request: Request) -> Any:
    """Four ways to begin, one of which goes on surely; a full stop ends the piece, two pieces the thinking."""
    thinking, closed, answer = so_far.partition("</think>")
    if closed:
        return END if answer else "7"
    piece = thinking.rpartition(".")[2]
    if not piece:
        return "</think>" if thinking.count(".") == 2 else {"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}
    if len(piece) == 5:
        return "."
    return {" ": 1.0} if len(piece) % 2 else {"y": 0.99, "z": 0.01} if piece[0] == "c" else {"y": 0.8, "z": 0.2}


def test_where_the_next_token_is_open_the_surest_piece_stays() -> None:
    rule = Cntp(h_max=1.0, n_max=10)
    firsts = []
    for seed in range(12):
        solution, _ = play(rule, phrase, seed=seed, temperature=1.0)
        assert solution.text == "7"
        firsts += [piece[0] for piece in solution.thinking.split(".") if piece]
        assert len(looks(solution)) >= 2
    assert firsts.count("c") / len(firsts) > 0.8, "ten trials rarely miss it, one would find it in a quarter"


def test_the_other_trials_are_dropped_and_counted() -> None:
    solution, _ = play(Cntp(h_max=1.0, n_max=4), phrase, temperature=1.0)
    assert len(dropped(solution)) >= 6
    assert solution.ledger.dropped >= 6 * 6
    kept = sum(len(span.ids) for span in solution.spans if span.kind == "sampled")
    assert kept == solution.ledger.kept == 2 * 6 + 3


def test_where_every_token_is_sure_it_is_plain_sampling() -> None:
    def sure(so_far: str, request: Request) -> Any:
        return "one two. three</think>4"[len(so_far) :] or END

    solution, _ = play(Cntp(), sure)
    assert (solution.thinking, solution.ledger.dropped, solution.chain) == ("one two. three", 0, "0")


def test_a_trial_has_an_end_even_without_a_mark() -> None:
    def endless(so_far: str, request: Request) -> Any:
        thinking, closed, answer = so_far.partition("</think>")
        if closed:
            return END if answer else "1"
        return "</think>" if len(thinking) >= 12 else {"a": 0.5, "b": 0.5}

    solution, _ = play(Cntp(h_max=0.6, n_max=2, segment=3), endless, temperature=1.0)
    assert solution.text == "1"
    assert len(solution.thinking) == 12


def test_warmer_than_1_every_token_is_looked_at() -> None:
    def mild(so_far: str, request: Request) -> Any:
        thinking, closed, answer = so_far.partition("</think>")
        if closed:
            return END if answer else "1"
        return "</think>" if len(thinking) >= 4 else {"a": 0.9, "b": 0.1}

    raw, warm = 0.325, 0.688  # entropy at temperature 1 and at 10
    rule = Cntp(h_min=0.01, h_max=0.7, n_max=2, segment=1)
    assert trials(raw, 2, 0.01, 0.7) == 1
    assert trials(warm, 2, 0.01, 0.69) == 1
    assert not dropped(play(rule, mild, temperature=1.0)[0])
    assert dropped(play(Cntp(h_min=0.01, h_max=0.68, n_max=2, segment=1), mild, temperature=10.0)[0])


def test_limits_that_cross_are_refused() -> None:
    with pytest.raises(BadInput, match="h_max must be above"):
        Cntp(h_min=1.0, h_max=0.5)
