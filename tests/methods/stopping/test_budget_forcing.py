"""s1's budget forcing: the end is ignored so many times, and the budget counts over all pieces."""

import pytest
from tests.methods.stopping.stage import looks, play

from satisfice.core.engine import Request
from satisfice.engines.scripted import END, ScriptedEngine
from satisfice.methods.stopping.budget_forcing import BudgetForcing, closing
from satisfice.methods.stopping.full import Full

PIECES = ("one two three ", " four five", " six")


def story(so_far: str, request: Request) -> str:
    """Ends its thinking after each piece; goes on with the next one after "Wait"."""
    thinking, closed, said = so_far.partition("</think>")
    if closed:
        return END if said.endswith("done") else "done"
    pieces = thinking.split("Wait")
    told = PIECES[min(len(pieces), len(PIECES)) - 1]
    return told[len(pieces[-1]) :] or "</think>"


@pytest.mark.parametrize(
    ("extensions", "thinking"),
    [(0, "one two three "), (1, "one two three Wait four five"), (2, "one two three Wait four fiveWait six")],
)
def test_the_end_is_taken_back_so_many_times(extensions: int, thinking: str) -> None:
    solution = play(BudgetForcing(extensions=extensions), story)
    assert (solution.thinking, solution.text, solution.ended) == (thinking, "done", "model")
    assert (solution.ledger.dropped, solution.ledger.injected) == (extensions, extensions)


def test_without_extensions_and_within_the_budget_it_is_no_rule() -> None:
    assert play(BudgetForcing(extensions=0, tokens=100), story).spans == play(Full(), story).spans


def test_worked_example_the_second_piece_is_cut_only_when_both_exceed_the_budget() -> None:
    first = len(ScriptedEngine("").encode(PIECES[0]))  # 6 tokens; the word put in is not counted
    fits = play(BudgetForcing(tokens=first + 5), story)
    assert (fits.ended, fits.thinking) == ("model", "one two three Wait four five")
    cut = play(BudgetForcing(tokens=first + 2), story)
    assert (cut.ended, cut.thinking) == ("rule", "one two three Wait four\n")
    assert cut.spans[-2].kind == "injected"
    assert looks(cut)[-1] == first + 1 + 2


def test_a_budget_that_is_spent_to_the_token_is_spent() -> None:
    first = len(ScriptedEngine("").encode(PIECES[0]))
    assert play(BudgetForcing(tokens=first, extensions=0), story).ended == "rule", "the end itself did not fit in"
    assert play(BudgetForcing(tokens=first + 1, extensions=0), story).ended == "model"
    assert play(BudgetForcing(tokens=0), story).thinking == ""


def test_it_goes_on_no_further_once_an_extension_repeats_or_brings_nothing() -> None:
    def parrot(so_far: str, request: Request) -> str:
        thinking, closed, said = so_far.partition("</think>")
        if closed:
            return END if said else "done"
        return "again"[len(thinking.rpartition("Wait")[2]) :] or "</think>"

    assert play(BudgetForcing(extensions=6), parrot).thinking == "againWaitagain"
    silent = play(BudgetForcing(extensions=6), lambda so_far, _: END if so_far.endswith("</think>") else "</think>")
    assert silent.thinking == "Wait"


def test_a_limit_of_the_session_is_no_end_to_take_back() -> None:
    solution = play(BudgetForcing(extensions=3), "a b c d e f g h</think>4", chain_limit=24)
    assert (solution.ended, solution.text) == ("limit", "?")


def test_a_turn_that_ends_within_the_thinking_is_taken_back_too() -> None:
    def stops(so_far: str, request: Request) -> str:
        if "Wait" not in so_far:
            return END
        return END if so_far.endswith("fine") else "</think>" if so_far.endswith("Wait") else "fine"

    assert play(BudgetForcing(), stops).text == "fine"


def test_the_closing_text_begins_no_second_line() -> None:
    assert closing("a\n", "\n</think>x") == "</think>x"
    assert closing("", "\n</think>x") == "</think>x"
    assert closing("a", "\n</think>x") == "\n</think>x"
