"""DEER-Pro: the calibrated confidence, and the rule where wordings disagree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.methods.stopping.stage import looks, play

from satisfice.core.engine import Request
from satisfice.engines.scripted import END
from satisfice.methods.stopping.deer import Deer
from satisfice.methods.stopping.deer_pro import DeerPro, calibrated

STORY = "so 4\nWait, so 4\nWait, yes</think>4"


def script(sure: dict[str, float], cue: int = 0) -> object:
    """`sure`: how probable the trial answer is after each wording, from the `cue`-th cue on; before that never."""

    def told(so_far: str, request: Request) -> str | tuple[str, float]:
        if STORY.startswith(so_far):
            return STORY[len(so_far) :] or END
        if so_far.endswith("final"):
            return END
        for wording, p in sure.items():
            thinking, found, said = so_far.partition(wording)
            if found:
                return ("\n", 0.0) if said else ("4", float(np.log(p if thinking.count("Wait") >= cue else 0.1)))
        return "final"

    return told


SHEET = {"<a>": 0.97, "<b>": 0.96, "<c>": 0.99, "<d>": 0.80}
PROFILE = {"rules": {"deer-pro": {"inducers": tuple(SHEET)}}, "induce_answer": "<c>"}


def test_the_worked_example() -> None:
    c = np.array([0.97, 0.96, 0.99, 0.80])
    assert c.mean() == pytest.approx(0.93)
    assert np.abs(c - c.mean()).mean() == pytest.approx(0.065)
    assert calibrated(c, 1.0) == pytest.approx(0.865)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0, 3))
def test_disagreement_only_ever_costs(c: list[float], alpha: float) -> None:
    assert calibrated(c, alpha) <= np.mean(c) + 1e-12
    assert calibrated(c, 0.0) == pytest.approx(np.mean(c))
    assert calibrated([c[0]] * 4, alpha) == pytest.approx(c[0])


def test_where_deer_would_exit_on_its_one_wording_the_spread_holds_it_back() -> None:
    # a trial answer is "4" and the line end that closes it: the mean of p and 1
    assert play(Deer(threshold=0.95), script(SHEET), profile=PROFILE).ended == "rule"
    solution = play(DeerPro(threshold=0.95), script(SHEET), profile=PROFILE)
    expected = calibrated([(p + 1) / 2 for p in SHEET.values()])
    assert looks(solution) == [pytest.approx(expected, abs=1e-6)] * 2
    assert solution.ended == "model"


def test_it_stops_where_all_are_sure_and_drops_every_probe() -> None:
    solution = play(DeerPro(), script(dict.fromkeys(SHEET, 0.99), cue=1), profile=PROFILE)
    assert (solution.thinking, solution.text, solution.ended) == ("so 4\nWait, so 4\n", "final", "rule")
    assert solution.ledger.probe == 2 * 4 * 2, "two cues, four wordings, an answer and its end each"


def test_n_bounds_the_wordings_and_a_profile_may_know_fewer() -> None:
    assert play(DeerPro(n=2, threshold=1.0), script(SHEET), profile=PROFILE).ledger.probe == 2 * 2 * 2
    assert (
        play(
            DeerPro(threshold=1.0), script(SHEET), profile={"rules": {"deer-pro": {"inducers": ("<a>",)}}}
        ).ledger.probe
        == 2 * 1 * 2
    )


def test_the_threshold_is_strict_and_steps_are_bounded() -> None:
    certain = script(dict.fromkeys(SHEET, 1.0))
    assert play(DeerPro(threshold=1.0), certain, profile=PROFILE).ended == "model"
    assert play(DeerPro(threshold=0.99), certain, profile=PROFILE).ended == "rule"
    assert len(looks(play(DeerPro(max_judge_steps=1), script(SHEET), profile=PROFILE))) == 1
