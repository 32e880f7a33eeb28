"""Tasks: names, splits, prefixes and verdicts, on the real reasoning-gym."""

import dataclasses
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.problem import Problem, Verdict
from satisfice.tasks import SPLITS, load_task, task_names
from satisfice.tasks.audit import unfit
from satisfice.tasks.families import unfit_families
from satisfice.tasks.load import split_of


@pytest.mark.parametrize("name", task_names())
def test_every_tier_has_enough_unique_problems_and_its_reference_answers_are_right(name: str) -> None:
    task = load_task(name, limit=2_500)
    assert task.name == f"{name}@1"
    assert (
        len({problem.question for problem in task.problems}) == len({problem.id for problem in task.problems}) == 2_500
    )
    for problem in task.problems[:20]:
        assert task.verify(problem, f" {problem.answer}\n") is Verdict.RIGHT
        assert task.verify(problem, str(int(problem.answer) + 1)) is Verdict.WRONG


@pytest.mark.parametrize("answer", ["", "none of them", "7" * 5_000, "\x00", "12abc"])
def test_an_answer_that_is_no_number_is_wrong(answer: str) -> None:
    task = load_task("chain-sum:easy", limit=1)
    assert task.verify(task.problems[0], answer) is Verdict.WRONG


def test_a_small_limit_is_a_prefix_of_a_large_one() -> None:
    assert load_task("gcd:hard", limit=300).problems[:40] == load_task("gcd:hard", limit=40).problems


def test_splits_share_no_question_even_across_seeds() -> None:
    questions = {
        split: {
            p.question for seed in (0, 1) for p in load_task("products:easy", split, limit=1_500, seed=seed).problems
        }
        for split in SPLITS
    }
    assert not questions["train"] & questions["eval"]
    assert not questions["train"] & questions["calibration"]
    assert not questions["calibration"] & questions["eval"]


@given(st.text())
def test_a_question_has_one_split(question: str) -> None:
    assert split_of(question) in SPLITS
    assert split_of(question) == split_of(question)


def test_another_seed_gives_other_problems() -> None:
    first, second = ({p.id for p in load_task("chain-sum:hard", limit=100, seed=seed).problems} for seed in (0, 1))
    assert not first & second


def test_a_family_of_reasoning_gym_is_a_task_by_its_name() -> None:
    task = load_task("simple-equations", limit=5)
    assert task.name == "simple-equations@1"
    assert task.verify(task.problems[0], task.problems[0].answer) is Verdict.RIGHT
    assert load_task("simple_equations@1", limit=5).problems == task.problems


def test_a_problem_of_another_seed_is_unknown_not_wrong() -> None:
    task, other = (load_task("chain-sum:hard", limit=1, seed=seed) for seed in (0, 1))
    assert task.verify(other.problems[0], other.problems[0].answer) is Verdict.UNKNOWN


def test_an_answer_on_which_the_scorer_fails_is_wrong_and_a_reference_on_which_it_does_makes_it_unknown() -> None:
    task = load_task("chain-sum:hard", limit=1)
    fit = task.problems[0]

    def score(problem: Problem, answer: str) -> Verdict:
        return Verdict.RIGHT if float(answer) == float(problem.answer) else Verdict.WRONG

    strict = dataclasses.replace(task, _score=score)
    assert strict.verify(fit, "no number") is Verdict.WRONG
    assert strict.verify(dataclasses.replace(fit, answer="12:30"), "no number") is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("chain-sums:hard", "chain-sum"),
        ("chain-sum:herd", "'hard'"),
        ("chain-sum:hard@7", "version '7'"),
        ("countdown:hard", "tier"),
    ],
)
def test_a_wrong_name_says_what_would_be_right(name: str, hint: str) -> None:
    with pytest.raises(BadInput, match=hint):
        load_task(name)


@pytest.mark.parametrize("name", sorted(unfit_families()))
def test_a_family_whose_scorer_cannot_be_trusted_is_refused_by_name_with_the_reason(name: str) -> None:
    with pytest.raises(BadInput, match=f"{name}.*refused.*(accepts|reference answers|cannot be made|other problems)"):
        load_task(name)
    with pytest.raises(BadInput, match="refused"):
        load_task(name.replace("-", "_") + "@1")


def test_an_answer_to_a_word_problem_is_one_number_and_no_hedge() -> None:
    task = load_task("gsm-symbolic", limit=1)
    problem = task.problems[0]
    for answer in ("not {}", "{} or 7777", "anything but {}", "{} and 7777", "7777 or {}", "", "?", "{}1"):
        assert task.verify(problem, answer.format(problem.answer)) is Verdict.WRONG, answer
    for answer in ("{}", "{}.0", "**{}**", "{} apples"):
        assert task.verify(problem, answer.format(problem.answer)) is Verdict.RIGHT, answer


@pytest.mark.slow
def test_an_audit_finds_the_families_of_the_list_and_none_of_those_that_are_used_most() -> None:
    """The audit of all families takes a core for some quarter of an hour: `python -m satisfice.tasks.audit`."""
    assert unfit(["basic-arithmetic", "chain-sum", "countdown", "gcd", "leg-counting", "products"]) == {}
    listed = ["boxnet", "game-of-life-halting"]
    assert set(unfit([*listed, "gsm-symbolic"])) == {*listed, "gsm-symbolic"}
    assert set(listed) <= set(unfit_families())


def test_more_problems_than_a_family_has_is_refused_with_the_number() -> None:
    with pytest.raises(BadInput, match=r"has only \d+ different problems"):
        load_task("products:easy", limit=100_000)


@pytest.mark.parametrize("limit", [100_001, 100_000_000, 10**30])
def test_more_problems_than_anybody_would_wait_for_are_refused_at_once(limit: int) -> None:
    with pytest.raises(BadInput, match="at most 100,000 problems"):
        load_task("chain-sum:hard", limit=limit)


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(BadInput, match="limit"):
        load_task("chain-sum:easy", limit=limit)


def test_an_unknown_split_or_seed_is_refused() -> None:
    with pytest.raises(UnknownName, match="eval"):
        load_task("chain-sum:easy", "evaluation")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="seed"):
        load_task("chain-sum:easy", seed=-1)


def test_a_family_that_draws_its_list_when_it_is_made_is_made_short() -> None:
    """Word problems drew a hundred million numbers before the first one: half a minute, and 800 MB."""
    before = time.process_time()
    task = load_task("gsm-symbolic", limit=3)
    assert time.process_time() - before < 10
    assert [task.verify(problem, problem.answer) for problem in task.problems] == [Verdict.RIGHT] * 3
