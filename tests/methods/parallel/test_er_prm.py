"""Early rejection: whom the scorer drops, and what is not written then."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from tests.methods.parallel.stage import dropped, looks, play

from satisfice.core.card import Card
from satisfice.core.engine import Request
from satisfice.engines.scripted import END
from satisfice.methods.parallel.er_prm import ErPrm
from satisfice.methods.stopping.fixed_budget import FixedBudget


@dataclass(frozen=True, kw_only=True)
class Likes:
    """Counts a letter."""

    card: ClassVar = Card(id="likes", paper="", where="nowhere", needs=frozenset(), fidelity="standard")
    letter: str = "a"

    def __call__(self, question: str, texts: Sequence[str]) -> list[float]:
        return [float(text.count(self.letter)) for text in texts]


def lines(so_far: str, request: Request) -> Any:
    """Every line is eight letters of one kind, the kind is a choice; after three lines thinking ends."""
    thinking, closed, answer = so_far.partition("</think>")
    if closed:
        return END if answer else thinking[:1]
    if thinking.count("\n") == 3:
        return "</think>"
    line = thinking.rpartition("\n")[2]
    if len(line) == 16:
        return "\n"
    return (line[0] if len(line) % 2 == 0 else " ") if line else {"a": 0.5, "b": 0.3, "c": 0.2}


def test_the_scorer_chooses_every_step() -> None:
    for letter in "abc":
        solution, _ = play(ErPrm(n=40, width=40, tau=4, scorer=Likes(letter=letter)), lines, temperature=1.0)
        assert solution.text == letter
        assert set(solution.thinking.split()) == {letter}


def test_rejected_candidates_are_written_for_tau_tokens_and_no_more() -> None:
    rule = ErPrm(n=16, width=4, tau=4, max_steps=1, scorer=Likes())
    solution, _ = play(rule, lines)
    assert dropped(solution) == [], "the first round has one chain to continue: 4 candidates for 4 places"
    second, _ = play(ErPrm(n=16, width=4, tau=4, max_steps=2, scorer=Likes()), lines)
    assert len(dropped(second)) == 12
    last = {e.chain: e.data["tokens"] for e in second.log if e.kind == "pause" and e.data["tokens"]}
    assert {last[name] for name in dropped(second)} == {4}


def test_the_share_of_tokens_in_the_worked_example() -> None:
    decoded = 16 * 64 + 4 * 256
    assert decoded / (16 * (64 + 256)) == 0.4
    rule = ErPrm()
    assert (rule.n * rule.tau + rule.n // rule.width * rule.complete) / (rule.n * (rule.tau + rule.complete)) == 0.4


def test_a_finished_chain_keeps_its_place_and_is_not_written_on() -> None:
    def two(so_far: str, request: Request) -> Any:
        thinking, closed, answer = so_far.partition("</think>")
        if closed:
            return END if answer else thinking[:1]
        if not thinking:
            return {"a": 0.5, "b": 0.5}
        return "</think>" if thinking[0] == "a" or len(thinking) > 60 else " b\n"

    solution, _ = play(ErPrm(n=8, width=8, tau=4, scorer=Likes(letter="a")), two)
    assert (solution.text, solution.thinking) == ("a", "a")


def test_in_the_released_code_a_chain_that_has_ended_is_lost_while_another_goes_on() -> None:
    def script(so_far: str, request: Request) -> Any:
        thinking, closed, answer = so_far.partition("</think>")
        if closed:
            return END if answer else thinking[:1]
        if not thinking:
            return {"a": 0.5, "b": 0.5}
        return "</think>" if thinking[0] == "a" or len(thinking) > 20 else " b\n"

    rule = ErPrm(n=64, width=8, tau=4, complete=2, scorer=Likes(letter="a"))
    kept, _ = play(rule, script)
    lost, _ = play(replace(rule, keep_finished=False), script)
    assert (kept.text, lost.text) == ("a", "b")
    alone, _ = play(ErPrm(n=1, width=1, tau=4, keep_finished=False), lines)
    assert alone.text in "abc"
    assert alone.ledger.dropped == 0


def test_without_a_scorer_the_likelier_chain_is_taken() -> None:
    solution, _ = play(ErPrm(n=12, width=12, tau=4), lines)
    assert set(solution.thinking.split()) == {"a"}


def test_a_chain_without_an_answer_yields_to_the_next_best() -> None:
    def mute(so_far: str, request: Request) -> Any:
        thinking, closed, answer = so_far.partition("</think>")
        if closed:
            return END if answer or thinking[0] == "a" else "b"
        return "</think>" if thinking else {"a": 0.5, "b": 0.5}

    solution, _ = play(ErPrm(n=64, width=8, tau=4, scorer=Likes(letter="a")), mute)
    assert solution.text == "b"
    assert looks(solution)[0] == 1


def test_one_candidate_is_a_plain_chain_and_the_inner_rule_takes_over_after_the_last_round() -> None:
    plain, _ = play(ErPrm(n=1, width=1, tau=4), lines)
    assert plain.chain == "0"
    assert plain.ledger.dropped == 0
    cut, _ = play(ErPrm(n=2, width=2, tau=4, max_steps=1, stop=FixedBudget(tokens=20)), lines)
    assert cut.ended == "rule"
