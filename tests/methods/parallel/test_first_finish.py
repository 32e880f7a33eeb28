"""First finish: who wins, in which order, and what becomes of the others."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.engine import Request, random_key
from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem
from satisfice.core.race import PACE
from satisfice.core.session import Session, Solution, solve
from satisfice.engines.scripted import END, ScriptedEngine, ScriptedSequence
from satisfice.methods.parallel.first_finish import FirstFinish, right_given_length
from satisfice.methods.stopping.fixed_budget import FixedBudget


@pytest.mark.parametrize(("length", "p"), [(6000, 0.9308), (10000, 0.75), (14000, 0.0323)])
def test_posterior_of_the_worked_example(length: int, p: float) -> None:
    found = right_given_length(length, right=(8000, 2000), wrong=(14000, 4000), prior=0.6)
    assert found == pytest.approx(p, abs=1e-4)


class SlowEngine(ScriptedEngine):
    """A scripted engine whose sequences advance at their own pace: chain n pauses `pauses[n]` turns before a call."""

    def __init__(self, lengths: list[int], answers: list[str], pauses: list[int]) -> None:
        self.keys = {random_key(0, "a", str(n)): n for n in range(len(lengths))}
        self.lengths, self.answers, self.pauses = lengths, answers, pauses
        super().__init__(self.tell)

    def tell(self, so_far: str, request: Request) -> str:
        n = self.keys[request.key]
        story = "." * self.lengths[n] + "</think>" + self.answers[n]
        if story.startswith(so_far):
            return story[len(so_far) :] or END
        return END if so_far.endswith("cut") else "cut"

    def open(self, question: str, label: str) -> ScriptedSequence:
        return SlowSequence(self, self.encode(question))


class SlowSequence(ScriptedSequence):
    def fork(self, length: int) -> ScriptedSequence:
        return SlowSequence(self._engine, self.ids[:length], self._prompt)

    async def sample(self, request: Request):  # type: ignore[no-untyped-def]
        assert isinstance(self._engine, SlowEngine)
        for _ in range(self._engine.pauses[self._engine.keys[request.key]]):
            await asyncio.sleep(0)
        return await super().sample(request)


def play(rule: FirstFinish, engine: SlowEngine) -> Solution:
    solution = asyncio.run(solve(rule, Session(engine, Problem(id="a", task="t@1", question="q", answer=""))))
    assert engine.open_sequences == 0
    assert solution.ledger.spent == engine.tokens
    assert not solution.error
    return solution


lanes = st.lists(st.tuples(st.integers(0, 60), st.sampled_from("123 "), st.integers(0, 30)), min_size=1, max_size=6)


@settings(deadline=None)
@given(lanes)
def test_the_shortest_valid_chain_wins_however_slowly_the_engine_runs_it(lanes: list[tuple[int, str, int]]) -> None:
    lengths, answers, pauses = ([lane[i] for lane in lanes] for i in range(3))
    rule = FirstFinish(n=len(lanes))
    solution = play(rule, SlowEngine(lengths, answers, pauses))
    valid = [n for n in range(len(lanes)) if answers[n].strip()]
    first = min(valid or range(len(lanes)), key=lambda n: (lengths[n], n))
    assert solution.chain == str(first)
    brisk = play(rule, SlowEngine(lengths, answers, [0] * len(lanes)))
    assert (brisk.chain, brisk.ledger.spent, brisk.ledger.steps) == (
        solution.chain, solution.ledger.spent, solution.ledger.steps,
    )  # fmt: skip


def test_losers_are_cancelled_within_a_pace_of_the_winners_end() -> None:
    solution = play(FirstFinish(n=3), SlowEngine([10, 500, 500], ["1", "2", "3"], [0, 0, 0]))
    end = 10 + 1 + 1 + 1  # thinking, closing tag, answer, end of turn
    assert solution.ledger.kept == end
    assert solution.ledger.dropped <= 2 * (end + PACE - 1)
    assert sorted(event.chain for event in solution.log if event.kind == "drop") == ["1", "2"]


def test_a_tie_goes_to_the_lower_number() -> None:
    assert play(FirstFinish(n=3), SlowEngine([9, 5, 5], ["1", "2", "3"], [0, 9, 0])).text == "2"


def test_with_k_the_majority_of_the_k_shortest_wins() -> None:
    engine = SlowEngine([5, 10, 15, 20], ["1", "2", "2", "1"], [0, 0, 0, 0])
    assert play(FirstFinish(n=4, k=3), engine).text == "2"


def test_every_chain_follows_the_inner_rule() -> None:
    engine = SlowEngine([50, 60], ["1", "2"], [0, 0])
    assert play(FirstFinish(n=2, stop=FixedBudget(tokens=4)), engine).text == "cut"


def test_a_race_within_a_race_ends() -> None:
    engine = SlowEngine([50, 40, 30, 20], ["1", "2", "3", "4"], [0, 3, 1, 2])
    assert play(FirstFinish(n=2, stop=FirstFinish(n=2)), engine).text == "4"


def test_k_above_n_is_refused() -> None:
    with pytest.raises(BadInput, match="k must be at most n"):
        FirstFinish(n=2, k=3)
