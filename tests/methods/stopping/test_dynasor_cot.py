"""Dynasor-CoT: agreement without hesitation, the chunk that runs ahead, and the answer that is written down."""

import pytest
from tests.methods.stopping.stage import looks, play, trials

from satisfice.methods.stopping import DynasorCot, Full
from satisfice.methods.stopping.dynasor_cot import certain, hesitates

WORDS = ("wait", "hold", "but", "okay", "no", "hmm")
STORY = "x" + " x" * 63 + "</think>7"  # a token each: 127 of thinking and the end


def by_chunk(*answers: str) -> object:
    """What the trial after each chunk of ten tokens says; the last one holds on."""

    def told(thinking: str) -> list[str]:
        chunk = min(len(thinking) // 10, len(answers)) - 1
        return list(answers[chunk])

    return trials(STORY, told)


RULE = {"chunk": 10, "k": 3, "greedy": True}


def test_worked_example_a_trial_without_an_answer_starts_the_count_again() -> None:
    answers = ["12", "12", None, "12", "12", "12"]
    texts = [a or "" for a in answers]
    stops = [certain(texts[:n], answers[:n], 3, str.__eq__, WORDS) for n in range(1, 7)]
    assert stops == [False] * 5 + [True]


@pytest.mark.parametrize(("overlap", "dropped"), [(True, 10), (False, 0)])
def test_worked_example_played_the_chunk_that_ran_ahead_is_dropped(overlap: bool, dropped: int) -> None:
    solution = play(DynasorCot(overlap=overlap, **RULE), by_chunk("12", "12", "", "12", "12", "12"))  # type: ignore[arg-type]
    assert looks(solution) == [1, 2, 0, 1, 2, 3]
    assert (len(solution.thinking), solution.ended, solution.text) == (60, "rule", "12")
    assert (solution.ledger.kept, solution.ledger.dropped) == (60, dropped), "no answer is decoded"


def test_overlapping_takes_fewer_steps_and_returns_the_same() -> None:
    script = by_chunk("12", "13", "7", "7", "7")
    ahead, waits = (play(DynasorCot(overlap=o, **RULE), script) for o in (True, False))  # type: ignore[arg-type]
    assert (ahead.thinking, ahead.text) == (waits.thinking, waits.text)
    assert ahead.ledger.steps < waits.ledger.steps


def test_the_model_may_write_the_answer_itself() -> None:
    solution = play(DynasorCot(reuse_answer=False, **RULE), by_chunk("12"))  # type: ignore[arg-type]
    assert (solution.text, len(solution.thinking)) == ("answer", 30)


def test_a_boxed_answer_is_written_down_in_its_box() -> None:
    profile = {"answer_form": "boxed"}
    assert play(DynasorCot(**RULE), by_chunk("12"), profile=profile).text == "\\boxed{12}"  # type: ignore[arg-type]


def test_a_trial_that_is_cut_off_or_empty_never_agrees() -> None:
    for script in (by_chunk("1" * 30), by_chunk("")):
        solution = play(DynasorCot(**RULE), script)  # type: ignore[arg-type]
        assert solution.ended == "model"
        assert set(looks(solution)) == {0}


def test_a_chain_on_which_it_never_fires_is_the_chain_without_it() -> None:
    solution, full = play(DynasorCot(**RULE), by_chunk(*map(str, range(13)))), play(Full(), STORY)  # type: ignore[arg-type]
    assert (solution.thinking, solution.text, solution.ended) == (full.thinking, full.text, full.ended)
    assert solution.ledger.kept == full.ledger.kept


def test_hesitation_is_a_whole_word_unless_told_otherwise() -> None:
    assert hesitates("12. Wait", WORDS)
    assert not hesitates("I know: 12", WORDS)
    assert hesitates("I know: 12", WORDS, "substring")
    assert not hesitates("12", ())
    texts = ["12", "12, but no", "12"]
    assert not certain(texts, ["12"] * 3, 3, str.__eq__, WORDS)
    assert certain(texts, ["12"] * 3, 1, str.__eq__, WORDS), "only the last k are read"
