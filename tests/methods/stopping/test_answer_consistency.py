"""Answer consistency: k equal trial answers in a row."""

from hypothesis import given
from hypothesis import strategies as st
from tests.methods.stopping.stage import looks, play, trials

from satisfice.methods.stopping.answer_consistency import AnswerConsistency
from satisfice.methods.stopping.trial import agreeing, settled

LINES = "a step\n" * 12 + "</think>7"


def by_step(*answers: str) -> object:
    return trials(LINES, lambda thinking: list(answers[min(thinking.count("\n"), len(answers)) - 1]))


def test_worked_example_k_3_stops_after_the_fourth_step() -> None:
    solution = play(AnswerConsistency(k=3), by_step("7", "5", "5", "5"))
    assert solution.thinking == "a step\n" * 4
    assert looks(solution) == [1, 1, 2, 3]
    assert (solution.ended, solution.text) == ("rule", "answer")


def test_answers_that_do_not_parse_never_agree() -> None:
    assert play(AnswerConsistency(k=2), by_step("")).ended == "model"
    assert play(AnswerConsistency(k=2), by_step("5", "", "5", "")).ended == "model"
    assert play(AnswerConsistency(k=2), by_step("9" * 30)).ended == "model", "cut off at the limit of the trial"


def test_a_wrong_answer_that_does_not_change_stops_the_chain_too() -> None:
    assert play(AnswerConsistency(), by_step("3")).thinking.count("\n") == 10


@given(st.lists(st.sampled_from(["1", "2", None])), st.integers(1, 5))
def test_settled_and_agreeing_say_the_same(answers: list[str | None], k: int) -> None:
    assert settled(answers, k, str.__eq__) == (agreeing(answers, str.__eq__) >= k)
