"""The server's own budget: it is asked for, and what comes back is checked."""

import pytest
from tests.methods.stopping.stage import play

from satisfice.core.engine import Request
from satisfice.engines.scripted import END, ScriptedSequence
from satisfice.methods.stopping.fixed_budget import FixedBudget
from satisfice.methods.stopping.full import Full
from satisfice.methods.stopping.server_thinking_budget import ServerThinkingBudget

STORY = "a b c d e f g h</think>4"


def script(so_far: str, request: Request) -> str:
    if STORY.startswith(so_far):
        return STORY[len(so_far) :] or END
    return END if so_far.endswith("?") else "?"


@pytest.mark.parametrize("tokens", [0, 1, 4, 14])
def test_the_engine_ends_the_thinking_after_so_many_tokens(tokens: int) -> None:
    solution = play(ServerThinkingBudget(tokens=tokens), script)
    assert (len(solution.thinking), solution.text, solution.ended) == (tokens, "?", "model")
    outside = play(FixedBudget(tokens=tokens), script)
    assert (outside.thinking, outside.text) == (solution.thinking, solution.text), "fixed-budget does it from outside"
    assert solution.ledger.injected == 0


def test_a_chain_that_ends_by_itself_is_left_alone() -> None:
    assert play(ServerThinkingBudget(tokens=15), script).spans == play(Full(), script).spans


def test_an_end_of_several_tokens_is_put_in_whole() -> None:
    def told(so_far: str, request: Request) -> str:
        return "4" if so_far.endswith(">") else END if so_far.endswith("4") else "x"

    solution = play(ServerThinkingBudget(tokens=3), told, profile={"think_close": "<end><of><it>"})
    assert (solution.thinking, solution.text) == ("xxx", "4")


def test_a_server_that_ignores_the_budget_is_found_out() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptedSequence, "_forced", lambda self, request: "")
        solution = play(ServerThinkingBudget(tokens=2, slack=1), script)
    assert "given a thinking budget of 2 tokens and went on after 4" in solution.error
    assert solution.text == ""
