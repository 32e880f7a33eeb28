"""The learned value of stopping: what it sees, what it learns from traces that are known, and the rule itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.stopping.stage import looks, play, trials

from satisfice.core.errors import BadInput
from satisfice.methods.stopping import StopValue
from satisfice.methods.stopping.artefact import Artefact, Network
from satisfice.methods.stopping.stop_value import (
    DATES,
    KNOTS,
    LEAST,
    PRICES,
    Look,
    Trace,
    features,
    network_from,
)
from satisfice.testing import check_method

STORY = "a step\nso 4\nWait, once more\nso 4\nWait, yes\nso 4\n</think>4"


def look(p: float, *, agreeing: int = 1, at: int = 10, entropy: float = 0.1) -> Look:
    return Look(logprobs=np.log([p, p]), entropy=entropy, agreeing=agreeing, at=at)


def test_features_are_nines_their_course_agreement_length_and_entropy() -> None:
    seen = features([look(0.9), look(0.9999, agreeing=2, at=250, entropy=0.3)])
    hinges = [4.0 - knot for knot in KNOTS]
    assert seen == pytest.approx([4.0, *hinges, 4.0, *hinges, 3.0, 0.0, 1.0, 0.0, 0.0, 2.5, 0.3], abs=1e-6)
    first = features([look(0.9)])
    assert first[len(KNOTS) * 2 + 2 :] == pytest.approx([0, 0, 0, 0, 0, 0.1, 0.1])


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=12))
def test_features_are_finite(confidences: list[float]) -> None:
    seen = features([look(p, at=n) for n, p in enumerate(confidences)])
    assert np.isfinite(seen).all()


def traces(n: int, dice: np.random.Generator) -> list[Trace]:
    """Chains with two cues: a sure first trial is right, an unsure one is wrong and mended by the second cue."""
    found = []
    for _ in range(n):
        sure = bool(dice.random() < 0.5)
        first = look(0.999 if sure else 0.7, at=40)
        found.append(
            Trace(
                looks=[first, look(0.999, agreeing=2 if sure else 1, at=80)], right=[sure, True], probes=[5, 5],
                held=[1, 1], full=True, spent=140,
            )
        )  # fmt: skip
    return found


def test_it_learns_to_stop_where_the_answer_is_right_and_to_go_on_where_it_is_mended() -> None:
    network = network_from(traces(600, np.random.default_rng(0)))
    columns = network(features([look(0.999, at=40)])).reshape(len(PRICES), DATES)
    unsure = network(features([look(0.7, at=40)])).reshape(len(PRICES), DATES)
    for number, price in enumerate(PRICES):
        # sure: nothing to gain, and 40 tokens and a trial up to the next cue are saved; unsure: an answer is lost.
        # The token of the cue is given up at either.
        assert columns[number, 0] == pytest.approx(45 * price / 1000, abs=0.02)
        assert unsure[number, 0] == pytest.approx(45 * price / 1000 - 1, abs=0.02)


def test_few_chains_are_refused() -> None:
    with pytest.raises(BadInput, match=f"{LEAST - 1} chains come to a cue, and it takes {LEAST}"):
        network_from(traces(LEAST - 1, np.random.default_rng(0)))


def made(tmp_path: Path, gain: float, prices: tuple[float, ...] = (0.2,)) -> str:
    """An artefact whose gain of stopping is `gain` times whether the newest two trials agree, less a little."""
    width = features([look(0.9)]).size
    weights = np.zeros((width, DATES * len(prices)))
    weights[len(KNOTS) * 2 + 4] = gain
    network = Network(
        mean=np.zeros(width), scale=np.ones(width), weights=(weights,), biases=(np.full(DATES * len(prices), -0.1),)
    )
    path = tmp_path / "stop-value.json"
    Artefact(rule="stop-value", network=network, arrays={"prices": np.array(prices)}).save(path)
    return str(path)


def test_it_stops_at_the_first_cue_with_a_gain_and_writes_the_trial_answer_down(tmp_path: Path) -> None:
    said = trials(STORY, lambda thinking: ["4"])
    solution = play(StopValue(artefact=made(tmp_path, 1.0)), said)
    assert (solution.text, solution.ended) == ("4", "rule")
    assert solution.thinking == "a step\nso 4\nWait, once more\nso 4\n"
    assert looks(solution) == pytest.approx([-0.1, 0.9])
    assert play(StopValue(artefact=made(tmp_path, 0.05)), said).ended == "model"


def test_a_trial_that_says_nothing_never_stops_it(tmp_path: Path) -> None:
    path = made(tmp_path, 0.0)
    artefact: dict[str, Any] = {"artefact": path}
    silent = trials(STORY, lambda thinking: [" "])
    assert play(StopValue(**artefact), silent).ended == "model"


def test_a_price_that_was_not_learned_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"price=0.3 was not learned by .*, only 0.2, 0.5"):
        StopValue(artefact=made(tmp_path, 1.0, (0.2, 0.5)), price=0.3)


def test_it_passes_the_battery(tmp_path: Path) -> None:
    check_method(StopValue(artefact=made(tmp_path, 1.0)))
