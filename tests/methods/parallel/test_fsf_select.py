"""Selection by failed steps: judgements read from graphs and labels, and what decides without them."""

from typing import Any

import pytest
from tests.methods.parallel.stage import PROBLEM, begun, looks, play, stories

from satisfice.core.engine import Request, random_key
from satisfice.core.errors import BadInput
from satisfice.engines.scripted import END
from satisfice.methods.parallel.fsf_select import FsfSelect, failed_fraction, marked, review_ratio
from satisfice.methods.stopping.fixed_budget import FixedBudget

TOLD = ["a\nthis does not work\nb</think>1", "a\nb\nc\nd</think>2", "a\nb\nthat's wrong\nstart over\n</think>3"]


def test_worked_example() -> None:
    nodes = [f'  n{i} [label="step {i}", status="{"failed" if i < 6 else "kept"}"];' for i in range(20)]
    graph = "digraph G {\n  node [shape=box];\n" + "\n".join(nodes) + "\n  n0 -> n1;\n  n1 -> n6 [style=dashed];\n}"
    assert failed_fraction(graph) == pytest.approx(0.3)


def test_what_is_no_graph_or_lacks_a_label_cannot_be_read() -> None:
    assert failed_fraction("I think it is fine.") is None
    assert review_ratio(["aa", "bb"], "1: progress") is None
    assert review_ratio([], "") is None
    assert review_ratio(["aaa", "b"], "[1] review\n[2] progress") == 0.75
    assert marked([], "x") is None
    assert marked(["ax", "b", "b", "b"], "x") == 0.25
    assert marked(["ax", "bb"], "x", by_length=True) == 0.5


def test_markers_decide_without_a_judge() -> None:
    solution, _ = play(FsfSelect(n=3, judge="markers"), stories(*TOLD))
    assert (solution.text, looks(solution)) == ("2", [0.0])
    assert len(begun(solution)) == 3


def test_length_alone() -> None:
    assert play(FsfSelect(n=3, measure="length"), stories(*TOLD))[0].text == "2"


def judged(*judgements: str) -> Any:
    """Chains 0 to 2 tell `TOLD`; the judges after them say what they are given."""
    keys = {random_key(0, PROBLEM.id, str(n)): n for n in range(6)}
    tell = stories(*TOLD)

    def script(so_far: str, request: Request) -> Any:
        number = keys[request.key]
        if number < 3:
            return tell(so_far, request)
        return judgements[number - 3][len(so_far.partition("</think>")[2]) :] or END

    return script


def test_the_judge_is_shown_each_chain_and_its_lowest_wins() -> None:
    graphs = ['n1 [status="kept"]', 'n1 [status="failed"]', 'n1 [status="failed"]\nn2 [status="kept"]']
    solution, _ = play(FsfSelect(n=3), judged(*graphs))
    assert (solution.text, looks(solution)) == ("1", [0.0])
    assert len(begun(solution)) == 6
    labels = [
        "1 progress\n2 review\n3 progress",
        "1 review\n2 review\n3 review\n4 review",
        "1 review\n2 review\n3 review\n4 review",
    ]
    assert play(FsfSelect(n=3, measure="review"), judged(*labels))[0].text == "1"


def test_one_judgement_that_cannot_be_read_leaves_it_to_length() -> None:
    solution, _ = play(FsfSelect(n=3), judged('n1 [status="kept"]', "no", 'n1 [status="kept"]'))
    assert solution.text == "2"


def test_of_equals_the_shorter_is_taken_and_a_chain_without_an_answer_only_if_all_are() -> None:
    told = ["a\nb\nc</think>1", "a\nb</think>2", "a</think>"]
    assert play(FsfSelect(n=3, judge="markers"), stories(*told))[0].text == "2"
    assert play(FsfSelect(n=2, judge="markers"), stories("a</think>"))[0].text == ""
    assert play(FsfSelect(n=1, judge="markers"), stories("a</think>1"))[0].text == "1"


def test_a_bad_expression_is_refused() -> None:
    with pytest.raises(BadInput, match="markers is no regular expression"):
        FsfSelect(markers="(")


def test_chains_follow_the_inner_rule() -> None:
    solution, _ = play(FsfSelect(n=2, judge="markers", stop=FixedBudget(tokens=1)), stories(*TOLD))
    assert (solution.text, solution.thinking) == ("cut", "a")
