"""DeepConf: confidence of tokens, windows and chains; who is dropped and who votes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.parallel.stage import PROBLEM, begun, dropped, play

from satisfice.core.engine import Request, random_key
from satisfice.engines.scripted import END
from satisfice.methods.parallel._confidence import token_confidence, window_means
from satisfice.methods.parallel.deepconf import DeepConf, chain_score
from satisfice.methods.stopping.fixed_budget import FixedBudget

TOP = [[0.9, 0.06], [0.6, 0.3], [0.4, 0.35], [0.95, 0.03]]
MINIMA = [14.2, 15.1, 13.8, 16.0, 15.5, 12.9, 14.9, 15.8]


def test_golden_values() -> None:
    confidence = token_confidence(np.log(TOP))
    assert confidence.round(4).tolist() == [1.4594, 0.8574, 0.9831, 1.7789]
    assert window_means(confidence, 2).round(4).tolist() == [1.1584, 0.9202, 1.381]
    assert chain_score(confidence, "lowest", 2) == pytest.approx(0.9202, abs=1e-4)
    assert np.percentile(MINIMA, 100 - 10) == pytest.approx(15.86)
    assert np.percentile(MINIMA, 100 - 90) == pytest.approx(13.53)


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.integers(1, 80))
def test_scores_of_a_chain_are_ordered_and_a_long_window_is_the_whole_chain(values: list[float], window: int) -> None:
    lowest, bottom, mean = (chain_score(values, score, window) for score in ("lowest", "bottom", "mean"))  # type: ignore[arg-type]
    assert lowest <= bottom + 1e-9
    if window >= len(values):
        assert lowest == pytest.approx(mean)


def test_tokens_that_a_small_model_does_not_have_do_not_count() -> None:
    assert token_confidence([[-1.0, -2.0, -np.inf]])[0] == pytest.approx(1.5)


def sure(*chains: tuple[str, float, str]) -> Any:
    """Chain n thinks `story`, each token of it with probability p, and answers; two tokens are possible everywhere."""
    keys = {random_key(0, PROBLEM.id, str(n)): chain for n, chain in enumerate(chains)}

    def script(so_far: str, request: Request) -> Any:
        story, p, answer = keys[request.key]
        whole = f"{story}</think>{answer}"
        if not whole.startswith(so_far):
            return END if so_far.endswith("cut") else "cut"
        rest = whole[len(so_far) :] or END
        return {rest: p, "other": 1 - p} if rest.startswith(("hm", "so")) else {rest: 0.999999, "other": 0.000001}

    return script


def greedily(rule: DeepConf, script: Any) -> Any:
    return play(rule, script, temperature=0.0)


STORY = "hm " * 12


def test_offline_the_sure_few_overrule_the_many() -> None:
    chains = [(STORY, 0.6, "7"), (STORY, 0.6, "7"), (STORY, 0.6, "7"), (STORY, 0.99, "12")]
    solution, _ = greedily(DeepConf(n=4, mode="offline", eta=25, window=4, top=2), sure(*chains))
    assert (solution.text, solution.chain) == ("12", "3")
    everyone, _ = greedily(DeepConf(n=4, mode="offline", eta=100, window=4, top=2), sure(*chains))
    assert everyone.text in ("7", "12")
    assert dropped(everyone) == []


def test_online_an_unsure_chain_is_dropped_soon_after_its_first_bad_window_and_does_not_vote() -> None:
    chains = [(STORY, 0.9, "12"), (STORY, 0.9, "12"), (STORY * 9, 0.55, "7"), (STORY, 0.95, "12")]
    rule = DeepConf(n=4, warmup=2, window=4, top=2, eta=90, consensus=None)
    solution, _ = greedily(rule, sure(*chains))
    assert (solution.text, dropped(solution)) == ("12", ["2"])
    pauses = [event for event in solution.log if event.kind == "pause" and event.chain == "2"]
    assert not pauses, "it never came to a pause of its own"
    everything, _ = greedily(DeepConf(n=4, warmup=4, window=4, top=2, eta=90), sure(*chains))
    whole = len(STORY) // 3 * 2 * 9 + 3
    assert everything.ledger.spent - solution.ledger.spent >= whole - (4 + 7), "at most a window and 7 tokens of it"


def test_a_chain_shorter_than_the_window_is_never_dropped() -> None:
    chains = [(STORY, 0.9, "12"), (STORY, 0.9, "12"), (STORY, 0.55, "7")]
    solution, _ = greedily(DeepConf(n=3, warmup=2, top=2, consensus=None), sure(*chains))
    assert dropped(solution) == []


def test_late_chains_shorter_than_the_window_meet_the_line_before_they_vote() -> None:
    chains = [(STORY, 0.95, "12")] * 2 + [(STORY, 0.55, "7")] * 6
    for consensus in (0.95, None):
        rule = DeepConf(n=8, warmup=2, eta=90, top=2, consensus=consensus)
        solution, _ = greedily(rule, sure(*chains))
        assert (solution.text, dropped(solution)) == ("12", [])
    sure_ones = [(STORY, 0.95, "12")] * 2 + [(STORY, 0.99, "7")] * 6
    assert greedily(DeepConf(n=8, warmup=2, eta=90, top=2, consensus=None), sure(*sure_ones))[0].text == "7"


@settings(max_examples=200)
@given(st.lists(st.floats(0.55, 0.999), min_size=3, max_size=6), st.sampled_from([10.0, 50.0, 90.0]))
def test_no_chain_below_the_line_votes(probabilities: list[float], eta: float) -> None:
    """Every chain has an answer of its own, so the one that wins is a voter."""
    chains = [(STORY, p, str(n)) for n, p in enumerate(probabilities)]
    solution, _ = greedily(DeepConf(n=len(chains), warmup=2, eta=eta, top=2, consensus=None), sure(*chains))
    line = min(probabilities[:2]) if eta > 10 else np.percentile(sorted(probabilities[:2]), 50)
    assert probabilities[int(solution.text)] >= line - 1e-9
    assert probabilities[int(solution.text)] == pytest.approx(max(probabilities), abs=1e-9)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.floats(0.6, 0.95), st.booleans()), min_size=2, max_size=8), st.sampled_from([10.0, 50.0]),
    st.sampled_from(["mean", "tail", "bottom", "lowest"]),
)  # fmt: skip
def test_offline_a_chain_without_an_answer_changes_nothing(chains: Any, eta: float, score: Any) -> None:
    told = [(STORY, p, str(n) if answered else "") for n, (p, answered) in enumerate(chains)]
    valid = [chain for chain in told if chain[2]]
    if valid:
        rule = DeepConf(n=len(told), mode="offline", eta=eta, top=2, score=score)
        alone, _ = greedily(replace(rule, n=len(valid)), sure(*valid))
        assert greedily(rule, sure(*told))[0].text == alone.text


def test_offline_chains_without_an_answer_have_no_part_in_the_percentile() -> None:
    chains = [(STORY, 0.99, ""), (STORY, 0.9, "12"), *[(STORY, 0.6, "7")] * 8]
    for score in ("mean", "tail", "bottom", "lowest"):
        solution, _ = greedily(DeepConf(n=10, mode="offline", eta=10, top=2, score=score), sure(*chains))  # type: ignore[arg-type]
        assert solution.text == "12"
    nobody, _ = greedily(DeepConf(n=3, mode="offline", top=2), sure(*[(STORY, 0.9, "")] * 3))
    assert (nobody.text, len(begun(nobody))) == ("", 3)


def test_where_no_voter_has_an_answer_the_others_that_ended_vote() -> None:
    mute = [(STORY, 0.95, ""), (STORY, 0.95, ""), (STORY, 0.6, "7"), (STORY, 0.6, "7")]
    solution, _ = greedily(DeepConf(n=4, warmup=2, top=2, consensus=None), sure(*mute))
    assert solution.text == "7"


def test_once_the_vote_is_clear_the_rest_is_not_asked_or_cancelled() -> None:
    chains = [(STORY, 0.9, "12"), (STORY, 0.9, "12"), (STORY, 0.9, "7"), (STORY, 0.9, "7")]
    solution, _ = greedily(DeepConf(n=4, warmup=2, window=4, top=2, eta=90), sure(*chains))
    assert len(begun(solution)) == 2
    split = [(STORY, 0.9, "7"), (STORY, 0.9, "12"), ("hm ", 0.999, "12"), (STORY * 9, 0.9, "7")]
    early, _ = greedily(DeepConf(n=4, warmup=2, window=4, top=2, eta=90, consensus=0.6), sure(*split))
    assert (early.text, dropped(early)) == ("12", ["3"])


def test_when_every_later_chain_is_dropped_the_warm_up_decides() -> None:
    chains = [(STORY, 0.9, "7"), (STORY, 0.8, "12"), (STORY, 0.55, "1"), (STORY, 0.55, "1")]
    solution, _ = greedily(DeepConf(n=4, warmup=2, window=4, top=2, eta=10, consensus=None), sure(*chains))
    assert (solution.text, dropped(solution)) == ("7", ["2", "3"])


def test_one_chain_and_no_answers_at_all() -> None:
    assert greedily(DeepConf(n=1, top=2), sure((STORY, 0.9, "12")))[0].text == "12"
    nothing, _ = greedily(DeepConf(n=4, warmup=2, top=2, consensus=0.5), sure(*[(STORY, 0.9, "")] * 4))
    assert (nothing.text, len(begun(nothing))) == ("", 4)


def test_every_chain_follows_the_inner_rule_and_is_still_watched() -> None:
    chains = [(STORY, 0.9, "12"), (STORY, 0.9, "12"), (STORY * 9, 0.55, "7")]
    rule = DeepConf(n=3, warmup=2, window=4, top=2, eta=90, consensus=None, stop=FixedBudget(tokens=20))
    solution, _ = greedily(rule, sure(*chains))
    assert (solution.text, solution.ended, dropped(solution)) == ("cut", "rule", ["2"])
