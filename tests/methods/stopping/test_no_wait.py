"""NoWait: the words are never said while thinking, and everything else is as it was."""

import numpy as np
from tests.methods.stopping.stage import play

from satisfice.core.engine import Request
from satisfice.engines.scripted import END
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.no_wait import NoWait

PROFILE = {"rules": {"no-wait": {"reflections": ("wait", "hmm")}}}


def babbler(so_far: str, request: Request) -> str | dict[str, float]:
    if so_far.count("</think>"):
        return END if so_far.endswith("Wait") else "Wait"  # the answer may say it
    if len(so_far) > 60:
        return "</think>"
    return {"Wait": 0.4, "hmm": 0.3, "x": 0.2, "waiter": 0.1}


def test_the_words_are_suppressed_in_the_thinking_and_free_in_the_answer() -> None:
    plain = [play(Full(), babbler, seed=s).thinking for s in range(5)]
    assert all("Wait" in thinking for thinking in plain)
    for seed in range(5):
        solution = play(NoWait(), babbler, profile=PROFILE, seed=seed)
        assert set(solution.thinking.replace("waiter", "x")) == {"x"}
        assert (solution.text, solution.ended) == ("Wait", "model")


def test_a_lighter_hand_multiplies_their_odds() -> None:
    def one(so_far: str, request: Request) -> str | dict[str, float]:
        return (
            {"wait": 0.5, "x": 0.5}
            if not so_far
            else END
            if so_far.endswith("4")
            else "4"
            if "</" in so_far
            else "</think>"
        )

    said = [
        play(NoWait(strength=1.0), one, profile=PROFILE, seed=s, temperature=1.0).thinking == "wait" for s in range(300)
    ]
    assert abs(np.mean(said) - 1 / (1 + np.e)) < 0.08


def test_a_story_without_the_words_is_left_alone() -> None:
    solution, full = (play(rule, "all is well</think>4", profile=PROFILE) for rule in (NoWait(), Full()))
    assert (solution.thinking, solution.text, solution.ledger.kept) == (full.thinking, full.text, full.ledger.kept)


def test_a_model_without_such_tokens_is_refused() -> None:
    assert (
        "none of scripted's reflection words"
        in play(NoWait(), babbler, profile={"rules": {"no-wait": {"reflections": ("two words",)}}}).error
    )
