"""Traces: the arithmetic is right wherever it is graded, and slips are hidden from the loss and found by the checks."""

import random
import re
import statistics

import pytest

from satisfice.made.pocket_data import make_example
from satisfice.made.solvers import LEGS_OF
from satisfice.made.traces import END, END_THINK, Trace, first_answer, prompt_text, stated_answers, write_trace
from satisfice.tasks import load_task, task_names


def traces(name: str, count: int) -> list[Trace]:
    rng = random.Random(name)
    task = load_task(name, "train", limit=count)
    return [write_trace(name.partition(":")[0], p.question, p.answer, rng) for p in task.problems]


def is_hidden(trace: Trace, at: int) -> bool:
    return any(low <= at < high for low, high in trace.hidden)


@pytest.mark.parametrize("name", task_names())
def test_every_full_equation_is_true_unless_it_is_a_slip(name: str) -> None:
    seen = 0
    for trace in traces(name, 100):
        for match in re.finditer(r"(?<![\d+*=-])(-?\d+)(?: [a-z ]+)?([-+*])(\d+)=(-?\d+)", trace.thinking):
            left, sign, right, result = match.groups()
            value = {"+": int(left) + int(right), "-": int(left) - int(right), "*": int(left) * int(right)}[sign]
            assert (value == int(result)) != is_hidden(trace, match.start(4)), match[0]
            seen += 1
    assert seen > 100


@pytest.mark.parametrize("name", task_names())
def test_the_last_stated_answer_is_right_and_what_is_compared_is_what_is_said(name: str) -> None:
    for trace in traces(name, 100):
        assert stated_answers(trace.thinking)[-1][1] == trace.answer
        for found, wanted, word in re.findall(r"=(-?\d+) (-?\d+) (ok|no)$", trace.thinking, re.MULTILINE):
            assert (found == wanted) == (word == "ok")


def test_a_wrong_first_answer_is_always_found() -> None:
    wrong = [
        trace for trace in traces("chain-sum:hard", 400) if (first_answer(trace.thinking) or (0, ""))[1] != trace.answer
    ]
    assert len(wrong) > 30
    assert all(re.search(r" no$", trace.thinking, re.MULTILINE) for trace in wrong)


def test_the_planned_checks_do_not_tell_whether_the_answer_is_right() -> None:
    """Up to the first failed check nothing may depend on the verdict: as many chains look back, right or wrong."""
    looked: dict[bool, list[bool]] = {True: [], False: []}
    for trace in traces("chain-sum:hard", 1_500):
        at, answer = first_answer(trace.thinking) or (0, "")
        looked[answer == trace.answer].append(any(cue < at for cue in trace.cues))
    right, wrong = statistics.mean(looked[True]), statistics.mean(looked[False])
    assert abs(right - wrong) < 0.12
    assert 0.2 < right < 0.8


def test_easy_chains_go_on_after_the_answer() -> None:
    shares = []
    for trace in traces("chain-sum:easy", 300):
        done = next(at for at, answer in stated_answers(trace.thinking) if answer == trace.answer)
        shares.append(1 - done / len(trace.thinking))
    assert statistics.mean(shares) >= 0.55


def test_cuts_lie_at_line_starts_and_cues_begin_with_a_cue_word() -> None:
    for trace in traces("leg-counting:medium", 50):
        for cut in (*trace.cues, *trace.lines):
            assert trace.thinking[cut - 1] == "\n"
        assert all(re.match("Check|Wait|Hmm", trace.thinking[cue:]) for cue in trace.cues)
        assert all(not re.match("Check|Wait|Hmm", trace.thinking[line:]) for line in trace.lines)


def test_examples_never_grade_slips_prompts_or_a_forced_end() -> None:
    rng = random.Random(0)
    kinds = set()
    for trace in traces("chain-sum:hard", 400):
        example = make_example(trace, rng)
        graded = {at for low, high in example.graded for at in range(low, high)}
        start = len(prompt_text(trace.question))
        assert min(graded) >= start
        close = example.text.index(END_THINK)
        slips = {start + at for low, high in trace.hidden for at in range(low, high)}
        assert not any(at in graded for at in slips if at < close)  # a cut chain has other text beyond
        whole = example.text[start:close] == trace.thinking
        kinds.add("whole" if whole else "direct" if close == start else "cut")
        if not whole:
            assert close not in graded
        assert example.text.endswith(END_THINK + trace.answer + END)
        assert set(range(close + len(END_THINK), len(example.text))) <= graded
    assert kinds == {"whole", "cut", "direct"}


def test_the_legs_are_those_of_reasoning_gym() -> None:
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    assert LEGS_OF == ANIMALS


def test_a_trace_depends_on_its_seed_alone() -> None:
    assert traces("gcd:hard", 20) == traces("gcd:hard", 20)
