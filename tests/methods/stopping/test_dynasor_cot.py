"""Dynasor-CoT: agreement without hesitation, the chunk that runs ahead, and the answer that is written down."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.methods.stopping.stage import looks, play, trials

from satisfice.engines.scripted import END
from satisfice.methods.stopping.dynasor_cot import DynasorCot, certain, closed_part, hesitates
from satisfice.methods.stopping.full import Full

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


@settings(max_examples=200)
@given(st.lists(st.sampled_from(["12", "13", ""]), min_size=1, max_size=12), st.integers(1, 4))
def test_it_stops_after_the_first_k_trials_in_a_row_that_agree(answers: list[str], k: int) -> None:
    rows = [answers[n - k : n] for n in range(k, len(answers) + 1)]
    first = next((n for n, row in enumerate(rows, start=k) if row[0] and len(set(row)) == 1), None)
    held = [*answers, *["" for _ in range(13 - len(answers))]]
    for overlap in (True, False):
        solution = play(DynasorCot(chunk=10, k=k, greedy=True, overlap=overlap), by_chunk(*held))  # type: ignore[arg-type]
        assert (solution.ended == "rule") is (first is not None)
        if first is not None:
            assert (len(solution.thinking), solution.text) == (10 * first, answers[first - 1])


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


def released(*said: str, k: int = 3, chunk: int = 10, end: int = 127, profile: object = None) -> object:
    """The released loop on a chain of `end` tokens; `said` is what the trial before each chunk says, whole."""
    story = ("x" + " x" * 63)[:end] + "</think>7"

    def script(so_far: str, request: object) -> str:
        thinking, asked, text = so_far.partition("</think>")
        if request.temperature > 0:  # type: ignore[attr-defined]
            return story[len(so_far) :] or END
        trial = said[min(len(thinking) // chunk, len(said) - 1)] if asked else ""
        return trial[len(text) :] or END

    rule = DynasorCot(loop="released", k=k, chunk=chunk, greedy=True)
    return play(rule, script, profile={"answer_end": ("}",), **(profile or {})})  # type: ignore[dict-item]


def test_the_released_loop_asks_before_the_first_thought_and_keeps_the_chunk() -> None:
    solution = released("12}")
    assert looks(solution) == [1, 2, 3], "asked at 0, 10 and 20 tokens"
    assert (len(solution.thinking), solution.text, solution.ended) == (30, "12", "rule")
    assert solution.ledger.dropped == 0
    assert solution.ledger.probe == 3 * 4, "the answer, its brace and the end of the turn"


def test_worked_example_in_the_released_loop_the_sixth_question_stands_at_five_chunks() -> None:
    solution = released("12}", "12}", "so", "12}", "12}", "12}")
    assert looks(solution) == [1, 2, 0, 1, 2, 3]
    assert len(solution.thinking) == 60


def test_the_released_loop_reads_hesitation_behind_the_closed_box_and_within_words() -> None:
    for doubt in ("12} Wait", "12} I know", "12}. OKAY", "12} {but"):
        assert released(doubt).ended == "model"  # type: ignore[attr-defined]
        assert released("12}", doubt, "12}", "12}", "12}").thinking == "x" + " x" * 24 + " "  # type: ignore[attr-defined]
    assert released("12} so").ended == "rule"  # type: ignore[attr-defined]


def test_the_released_loop_needs_a_closed_box_and_does_not_look_once_thinking_is_over() -> None:
    assert set(looks(released("12"))) == {0}  # type: ignore[arg-type]
    assert released("12}", k=2, end=15).ended == "model", "the second answer came beside the chunk that ended it"  # type: ignore[attr-defined]
    assert released("12}", k=1, end=15).thinking == "x x x x x "  # type: ignore[attr-defined]


def test_the_released_loop_takes_an_answer_without_a_box_as_it_ends() -> None:
    plain = {"answer_end": ("\n",), "answer_form": "plain"}
    assert released("12\nno more", profile=plain).ended == "model", "the whole trial is searched"  # type: ignore[attr-defined]
    assert released("12\nso", profile=plain).text == "12"  # type: ignore[attr-defined]
    assert released("12", profile=plain).text == "12"  # type: ignore[attr-defined]


def test_a_brace_of_the_answer_does_not_close_it() -> None:
    assert closed_part("\\frac{1}{2}} so", ("}",)) == "\\frac{1}{2}"
    assert closed_part("{1", ("}",)) is None
    assert closed_part("", ("}",)) is None
    assert closed_part("}", ("}",)) == ""
