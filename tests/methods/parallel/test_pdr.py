"""PDR and sequential refinement: what is handed on, what it costs, and when it is over early."""

from typing import Any

import pytest
from tests.methods.parallel.stage import PROBLEM, begun, looks, play

from satisfice.core.engine import Request, random_key
from satisfice.engines.scripted import END
from satisfice.methods.parallel.pdr import REFINE, Pdr, cost, gathered
from satisfice.methods.parallel.seq_refine import SeqRefine
from satisfice.methods.stopping.fixed_budget import FixedBudget

KEYS = {random_key(0, PROBLEM.id, str(n)): n for n in range(40)}


def drafts(*told: str) -> Any:
    """Chain n thinks a word and answers `told[n]`."""

    def script(so_far: str, request: Request) -> str:
        whole = f"hm</think>{told[KEYS[request.key] % len(told)]}"
        if whole.startswith(so_far):
            return whole[len(so_far) :] or END
        said = so_far.partition("</think>")[2]
        return told[KEYS[request.key] % len(told)][len(said) :] or END

    return script


def prompts(rule: Any, script: Any) -> tuple[Any, list[str]]:
    """The solution, and the prompt of every chain in the order in which they were begun."""
    solution, engine = play(rule, script)
    return solution, [engine.decode(list(ids)) for ids in engine.prompts]


@pytest.fixture(autouse=True)
def _kept_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    from satisfice.engines.scripted import ScriptedEngine

    open_ = ScriptedEngine.open

    def opened(self: Any, question: str, label: str) -> Any:
        sequence = open_(self, question, label)
        self.prompts = [*getattr(self, "prompts", []), tuple(sequence.ids)]
        return sequence

    monkeypatch.setattr(ScriptedEngine, "open", opened)


def test_worked_example() -> None:
    assert cost(200, [1000] * 4, 300, 1000) == (7200, 10800)


def test_drafts_are_distilled_and_the_last_round_sees_nothing_but_the_notes() -> None:
    solution, asked = prompts(Pdr(drafts=3), drafts("one", "two", "three", "the notes", "four"))
    assert solution.text == "four"
    first, distil, last = asked
    assert first == "q<think>"
    assert all(f"Attempt {n}:\n{text}" in distil for n, text in enumerate(("one", "two", "three"), 1))
    assert "the notes" in last
    assert "three" not in last
    assert begun(solution) == ["0", "1", "2", "3", "4"]
    assert solution.ledger.kept == 4
    assert solution.ledger.steps == 4 + 6 - 2 + 4, "a draft, the notes (which stop without thinking), the last one"


def test_the_notes_have_a_limit() -> None:
    _, asked = prompts(Pdr(drafts=2, workspace=2), drafts("one", "two", "the notes are long", "four"))
    assert asked[-1] == REFINE.format(question="q", workspace="the") + "<think>", "two tokens: a word and a blank"


def test_top_hands_on_whole_drafts_those_that_most_share_first() -> None:
    _, asked = prompts(Pdr(drafts=3, distil="top", k=2), drafts("7", "12", "12", "x"))
    assert asked[-1] == REFINE.format(question="q", workspace="Attempt 1:\n12\n\nAttempt 2:\n12") + "<think>"


def test_random_gives_each_next_draft_its_own_choice() -> None:
    told = [f"w{chr(97 + n)}" for n in range(12)]
    _, asked = prompts(Pdr(drafts=6, rounds=3, distil="random", k=2), drafts(*told))
    second = {prompt for prompt in asked[1:] if "Attempt 2" in prompt}
    assert len(second) > 2


def test_drafts_that_do_not_fit_are_left_out_whole_but_never_all() -> None:
    class Session:
        class engine:
            encode = staticmethod(lambda text: text.split())
            decode = staticmethod(" ".join)

    assert gathered(Session, ["a b c", "d e f g", "h"], 4) == "Attempt 1:\na b c\n\nAttempt 2:\nh"  # type: ignore[arg-type]
    assert gathered(Session, ["a b c"], 2) == "Attempt 1:\na b"  # type: ignore[arg-type]


def test_drafts_that_agree_end_it_unless_told_otherwise() -> None:
    assert len(begun(play(Pdr(drafts=3), drafts("12"))[0])) == 3
    assert len(begun(play(Pdr(drafts=3, shortcut=False, distil="top"), drafts("12"))[0])) == 4
    assert len(begun(play(Pdr(drafts=3, distil="top"), drafts(""))[0])) == 4, "none agrees with none"


def test_refining_hands_back_the_solution_and_says_whether_it_changed() -> None:
    solution, asked = prompts(SeqRefine(rounds=3), drafts("one", "two", "two"))
    assert [solution.text, looks(solution)] == ["two", [1.0, 0.0]]
    assert ["Attempt 1:\none" in asked[1], "Attempt 1:\ntwo" in asked[2]] == [True, True]
    assert solution.ledger.steps == solution.ledger.spent
    assert begun(play(SeqRefine(rounds=1), drafts("one"))[0]) == ["0"]


def test_other_prompts_count_as_injected() -> None:
    solution, asked = prompts(SeqRefine(rounds=2), drafts("one", "two"))
    engine = play(SeqRefine(rounds=2), drafts("one", "two"))[1]
    assert solution.ledger.injected == len(engine.encode(asked[1]))


def test_drafts_follow_the_inner_rule() -> None:
    for rule in (Pdr(drafts=2, distil="top", stop=FixedBudget(tokens=0)), SeqRefine(stop=FixedBudget(tokens=0))):
        solution, _ = play(rule, drafts("one", "two", "three"))
        assert (solution.thinking, solution.ended) == ("", "rule")
