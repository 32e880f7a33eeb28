"""ConCISE at decoding time: the share of sure words, and phrases put in where the chain would reflect."""

import pytest
from tests.methods.stopping.stage import looks, play

from satisfice.core.engine import Request
from satisfice.engines.scripted import END
from satisfice.methods.stopping.concise import Concise, sure_share
from satisfice.methods.stopping.trial import word_ids

SHEET = {"Great": 0.30, "Perfect": 0.10, "Wait": 0.25, "Hmm": 0.05, "x": 0.30}
WORDS = {"ask_certainty": "sure?", "sure_words": ("Great", "Perfect"), "doubting_words": ("Wait", "Hmm"),
         "assurances": ()}  # fmt: skip
PROFILE = {"candidate_answer": r"so \d", "rules": {"concise": WORDS}}


def profile(**words: object) -> dict[str, object]:
    return PROFILE | {"rules": {"concise": WORDS | words}}


def script(next_word: dict[str, float]) -> object:
    story = "a step\nso 4\nWait, once more\nso 4\n</think>4"

    def told(so_far: str, request: Request) -> str | dict[str, float]:
        if story.startswith(so_far):
            return story[len(so_far) :] or END
        if so_far.endswith("sure?"):
            return next_word
        return END if so_far.endswith("answer") else "answer"

    return told


def test_the_worked_example() -> None:
    ids = {name: i for i, name in enumerate(SHEET)}
    mass = {ids[name]: p for name, p in SHEET.items()}
    share = sure_share(mass, frozenset({0, 1}), frozenset({2, 3}))
    assert share == pytest.approx(0.5714, abs=1e-4)
    assert sure_share({4: 0.9}, frozenset({0, 1}), frozenset({2, 3})) == 0, "neither is no certainty"


def test_it_asks_after_steps_from_the_first_candidate_answer_on() -> None:
    solution = play(Concise(), script(SHEET), profile=PROFILE)
    assert looks(solution) == [pytest.approx(0.5714, abs=1e-4)]
    assert (solution.thinking, solution.text, solution.ended) == ("a step\nso 4\n", "answer", "rule")
    assert solution.ledger.probe == 1


def test_the_threshold_is_strict() -> None:
    half = {"Great": 0.3, "Wait": 0.3, "x": 0.4}
    assert play(Concise(), script(half), profile=PROFILE).ended == "model"
    assert looks(play(Concise(), script(half), profile=PROFILE)) == [0.5, 0.5, 0.5]
    assert play(Concise(threshold=0.49), script(half), profile=PROFILE).ended == "rule"


def test_without_a_candidate_answer_it_never_asks() -> None:
    solution = play(Concise(), script(SHEET), profile=PROFILE | {"candidate_answer": "never"})
    assert (looks(solution), solution.ended) == ([], "model")


def test_a_phrase_takes_the_place_of_a_reflection_but_not_before_an_answer() -> None:
    def told(so_far: str, request: Request) -> str:
        for story in ("Wait, a step\nso 4\nWait, once more\nso 4\n</think>4", "Wait, a step\nso 4\nClearly. </think>4"):
            if story.startswith(so_far):
                return story[len(so_far) :] or END
        return "x"

    solution = play(Concise(threshold=1.0), told, profile=profile(assurances=("Clearly. ",), ask_certainty=""))
    assert (solution.thinking, solution.text) == ("Wait, a step\nso 4\nClearly. ", "4")
    assert [span.kind for span in solution.spans[1:]] == ["sampled", "injected", "sampled"]
    assert sum(event.kind == "inject" for event in solution.log) == 1
    none = play(Concise(threshold=1.0, injections=0), told, profile=profile(assurances=("Clearly. ",)))
    assert none.thinking.count("Wait") == 2


def test_a_model_without_such_words_is_refused() -> None:
    assert (
        "none of scripted's sure or doubting words"
        in play(Concise(), script(SHEET), profile=profile(sure_words=())).error
    )


def test_words_are_found_in_all_their_forms_and_only_as_single_tokens() -> None:
    class Engine:
        def encode(self, text: str) -> list[int]:
            known = {"Wait": 1, " Wait": 2, "wait": 3, " wait": 4, "WAIT": 5}
            return [known[text]] if text in known else [9, 9]

    assert word_ids(Engine(), ["wait", "hmm"]) == {1, 2, 3, 4, 5}  # type: ignore[arg-type]
