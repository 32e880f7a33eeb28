"""BatchPrompt: reading labels, votes with confidence, and items that leave."""

import re
from typing import Any

import pytest
from tests.methods.parallel.stage import begun, looks, play

from satisfice.core.engine import Request
from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem
from satisfice.engines.scripted import END
from satisfice.methods.parallel.batchprompt import BatchPrompt, Label, contents, elected, labels, leaves, pack
from satisfice.methods.stopping.fixed_budget import FixedBudget

A, A_, B, B_ = Label("A", True), Label("A", False), Label("B", True), Label("B", False)
BATCH = pack(
    [Problem(id=str(n), task="t@1", question=f"question {n}", answer=answer) for n, answer in enumerate("xyz")],
    "Say a letter.",
)


def test_worked_examples() -> None:
    assert elected([A, B_, B_]) == "A"
    assert leaves([A, A]) == "A"
    assert leaves([A]) is leaves([A, A_]) is leaves([A, B]) is leaves([A, None]) is leaves([A, None, A]) is None


def test_of_equal_votes_the_last_confident_label_wins_else_the_first() -> None:
    assert elected([A, B]) == "B"
    assert elected([A_, B_]) == "A"
    assert elected([B_, B_, B_, B_, B_, A], alpha=0.2) == "A"
    assert elected([None, None]) is None


def test_labels_are_read_in_many_forms_and_what_is_none_is_not() -> None:
    said = labels(
        "Label 0: yes (confident)\nInput 1: no [not confident]\n2: -3 confident\n**Label 3: x (confident)**\n"
    )
    assert said == {0: ("yes", True), 1: ("no", False), 2: ("-3", True), 3: ("x", True)}
    assert labels("Label 0: yes\nLabel 1: (confident)\nconfident") == {}


def test_packing() -> None:
    assert contents(BATCH) == ("Say a letter.", ["question 0", "question 1", "question 2"])
    assert BATCH.answer == "0: x\n1: y\n2: z"
    assert contents(Problem(id="a", task="t", question="alone", answer="")) == ("", ["alone"])
    with pytest.raises(BadInput, match="must not be empty"):
        pack([], "Say a letter.")


def rounds(*told: dict[int, str]) -> Any:
    """Round r answers the items as `told[r]` says, at once."""
    asked: list[str] = []

    def script(so_far: str, request: Request) -> str:
        if not so_far:
            asked.append("")
        answer = "\n".join(f"Label {i}: {text}" for i, text in told[len(asked) - 1].items())
        return ("</think>" + answer)[len(so_far) :] or END

    return script


SURE = {0: "x (confident)", 1: "y (confident)", 2: "z (not confident)"}


def test_settled_items_leave_and_the_rest_is_asked_again() -> None:
    script = rounds(SURE, SURE, {2: "w (confident)"}, {2: "w (confident)"})
    solution, engine = play(BatchPrompt(), script, problem=BATCH)
    assert solution.text == "0: x\n1: y\n2: w"
    assert len(begun(solution)) == 4 + 1
    assert looks(solution) == [1.0]
    assert solution.ledger.kept == 0
    assert solution.ledger.dropped == engine.tokens


def test_without_leaving_all_rounds_are_asked() -> None:
    solution, _ = play(BatchPrompt(early=False, rounds=3), rounds(SURE, SURE, SURE), problem=BATCH)
    assert (solution.text, len(begun(solution))) == ("0: x\n1: y\n2: z", 3 + 1)


def test_an_item_that_no_round_speaks_of_has_no_answer() -> None:
    solution, _ = play(BatchPrompt(rounds=2), rounds({0: "x (confident)"}, {0: "x (confident)"}), problem=BATCH)
    assert solution.text == "0: x\n1:\n2:"


def test_every_round_has_an_order_of_its_own() -> None:
    from satisfice.engines.scripted import ScriptedEngine

    prompts: list[str] = []

    class Listening(ScriptedEngine):
        def open(self, question: str, label: str) -> Any:
            prompts.append(question)
            return super().open(question, label)

    import asyncio

    from satisfice.core.session import Session, solve

    batch = pack([Problem(id=str(n), task="t", question="q", answer="") for n in range(9)], "Say.")
    asyncio.run(solve(BatchPrompt(rounds=3), Session(Listening("</think>"), batch)))
    orders = {tuple(re.findall(r"Input (\d)", prompt)) for prompt in prompts[1:]}
    assert len(orders) == 3
    assert all(sorted(order) == [str(n) for n in range(9)] for order in orders)


def test_an_ordinary_problem_is_a_batch_of_one_and_rounds_follow_the_inner_rule() -> None:
    one = rounds({0: "12 (confident)"}, {0: "12 (confident)"})
    solution, _ = play(BatchPrompt(), one)
    assert (solution.text, len(begun(solution))) == ("12", 2 + 1)
    ruled, _ = play(BatchPrompt(rounds=1, stop=FixedBudget(tokens=0)), lambda s, r: END)
    assert ruled.text == ""
