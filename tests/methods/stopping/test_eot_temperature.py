"""eot-temperature: the golden values, both directions of the sign trap, and what reaches the engine."""

import math

import numpy as np
import pytest
from tests.methods.stopping.stage import play

from satisfice.core.engine import Request
from satisfice.engines.scripted import END
from satisfice.methods.stopping.eot_temperature import EndScale, EotTemperature
from satisfice.methods.stopping.full import Full


def p_end(logits: list[float]) -> float:
    p = np.exp(logits)
    return float(p[-1] / p.sum())


def scaled(logits: list[float], mode: str, scale: float) -> list[float]:
    return EndScale(token=2, mode=mode, scale=scale)(np.array([logits]))[0].tolist()  # type: ignore[arg-type]


def test_golden_values() -> None:
    assert p_end([5, 4, 2]) == pytest.approx(0.0351, abs=1e-4)
    assert p_end(scaled([5, 4, 2], "raw-scale", 0.5)) == pytest.approx(0.2119, abs=1e-4)
    assert p_end(scaled([5, 4, 2], "raw-scale", 0.4)) == pytest.approx(0.4223, abs=1e-4)
    assert p_end([1, 0.5, -2]) == pytest.approx(0.0301, abs=1e-4)
    assert p_end(scaled([1, 0.5, -2], "raw-scale", 0.5)) == pytest.approx(0.0042, abs=1e-4), "the wrong direction"


def test_shifting_first_never_goes_in_the_wrong_direction() -> None:
    rng = np.random.default_rng(0)
    for logits in rng.normal(size=(100, 3)) * 4:
        row = logits.tolist()
        assert p_end(scaled(row, "shifted-scale", 0.5)) >= p_end(row) - 1e-12


def test_the_other_scores_stay_and_the_input_is_not_written_to() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    changed = EndScale(token=1, mode="raw-scale", scale=0.5)(logits)
    assert changed.tolist() == [[1, 4, 3], [3, 4, 1]]
    assert logits.tolist() == [[1, 2, 3], [3, 2, 1]]


def test_tokens_that_a_filter_has_cut_are_not_the_lowest_score() -> None:
    cut = scaled([5.0, 1.0, 2.0, -np.inf], "shifted-scale", 0.5)
    assert cut == [5.0, 1.0, 3.0, -np.inf]


def test_torch_gives_what_numpy_gives() -> None:
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(0).normal(size=(4, 7))
    for mode in ("raw-scale", "shifted-scale"):
        change = EndScale(token=3, mode=mode, scale=0.3)  # type: ignore[arg-type]
        np.testing.assert_allclose(change(torch.from_numpy(logits)).numpy(), change(logits))


def coin(so_far: str, request: Request) -> str | dict[str, float]:
    """Each token of thinking is "x", or with a chance of a tenth the end."""
    if "</think>" in so_far:
        return END if so_far.endswith("4") else "4"
    return {"x": 0.9, "</think>": 0.1}


def lengths(rule: EotTemperature | Full, **limits: float) -> list[int]:
    return [len(play(rule, coin, seed=seed, temperature=1.0, **limits).thinking) for seed in range(40)]


@pytest.mark.parametrize("mode", ["add", "shifted-scale"])
def test_thinking_gets_shorter_and_nothing_ends_it_before_the_least_length(mode: str) -> None:
    plain, rule = lengths(Full()), lengths(EotTemperature(mode=mode, beta=3.0, min_tokens=4))  # type: ignore[arg-type]
    if mode == "add":  # with two tokens the end is the lowest score, which shifting leaves where it is
        assert sum(rule) < 0.8 * sum(plain)
    assert [n for n in plain if n < 4] == [n for n in rule if n < 4], "before that the chain is the same"


def test_a_bias_of_nothing_is_no_rule() -> None:
    assert lengths(EotTemperature(beta=0.0)) == lengths(Full())


def test_a_bias_beyond_all_scores_ends_the_thinking_at_once_and_the_answer_is_free_of_it() -> None:
    solution = play(EotTemperature(beta=100.0, min_tokens=0), coin)
    assert (solution.thinking, solution.text, solution.ended) == ("", "4", "model")


def test_the_bias_multiplies_the_odds() -> None:
    odds = 0.1 / 0.9 * math.exp(2.0)
    ends = [
        len(play(EotTemperature(beta=2.0, min_tokens=0), coin, seed=s, temperature=1.0).thinking) == 0
        for s in range(300)
    ]
    assert np.mean(ends) == pytest.approx(odds / (1 + odds), abs=0.08)


def test_dividing_is_refused_where_nothing_is_drawn() -> None:
    assert (
        "mode raw-scale changes how tokens are drawn"
        in play(EotTemperature(mode="raw-scale"), coin, temperature=0.0).error
    )
