"""A-DLP: a price per token that follows the accuracy."""

import pytest

from satisfice.core.shaper import advance
from satisfice.methods.shaping.a_dlp import ADlp
from satisfice.methods.shaping.dr_grpo import DrGrpo
from satisfice.testing import rollouts

LENGTHS = [1000, 2000, 4000, 3000]
G4 = rollouts(correct=[1, 1, 1, 0], length=LENGTHS)


def test_worked_example() -> None:
    shaped = ADlp()(G4)
    assert shaped.reward == pytest.approx([0, -1, -3, -3], abs=1e-4)
    assert shaped.advantage == pytest.approx([1.1667, 0.5, -0.8333, -0.8333], abs=1e-4)
    assert shaped.metrics == {"lam": 0.001}
    low = ADlp()(G4, {"lam": 1e-4})
    assert low.reward == pytest.approx([0.9, 0.8, 0.6, -0.3], abs=1e-4)
    assert low.advantage == pytest.approx([0.7303, 0.5477, 0.1826, -1.4606], abs=1e-4)


def test_worked_example_of_the_price() -> None:
    rule = ADlp()
    assert advance(rule, rule.init(), G4)["lam"] == pytest.approx(0.00113)
    assert rule.update(rule.init(), rollouts([1, 1, 0, 0, 0]))["lam"] == pytest.approx(0.00078)
    state, told = {"lam": 1e-4}, []
    for right in (70, 66, 58, 50):
        state = rule.update(state, rollouts([1] * right + [0] * (100 - right)))
        told.append(round(state["lam"], 8))
    assert told == [0.00018, 0.00022, 0.00018, 0.00006]


def test_the_price_is_never_negative_and_rate_0_keeps_it() -> None:
    assert ADlp().update({"lam": 1e-5}, rollouts([0, 0]))["lam"] == 0
    assert ADlp(rate=0).update({"lam": 1e-3}, G4) == {"lam": 1e-3}


@pytest.mark.parametrize("lam", [1e-3, 1e-2])
def test_where_all_are_wrong_the_shortest_wins_and_the_size_of_the_price_is_lost(lam: float) -> None:
    wrong = rollouts([0] * 4, LENGTHS)
    expected = [1.1619, 0.3873, -1.1619, -0.3873]
    assert ADlp()(wrong, {"lam": lam}).advantage == pytest.approx(expected, abs=1e-4)
    assert ADlp(advantage=DrGrpo())(wrong, {"lam": lam}).advantage[0] == pytest.approx(1500 * lam)
