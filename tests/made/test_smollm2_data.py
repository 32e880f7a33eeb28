"""Traces in English: what is graded is true, slips are found and kept out of the loss, pieces are tokenised apart."""

import itertools
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from satisfice.made.pocket_data import IGNORED, Batches
from satisfice.made.smollm2_data import (
    CLOSE,
    END,
    SKIP,
    SOURCES,
    TEMPLATE,
    Trace,
    examples,
    make_example,
    prompt_text,
    save_rows,
    tokenise,
    train_problems,
    visible,
    write_trace,
)  # fmt: skip
from satisfice.made.smollm2_families import FAMILIES, Unreadable
from satisfice.made.smollm2_prose import Done, Prose, Uneven
from satisfice.tasks.load import split_of

STEP = re.compile(r"(?<![\d)/*+-] )(?<![\d.-])(-?\d+) ([-+*/]) (-?\d+) = (-?\d+)(?=[.,])")


@pytest.fixture(scope="module")
def traces() -> list[tuple[str, Trace]]:
    found = []
    rng = random.Random(7)
    for dataset, question, answer, entry in itertools.islice(train_problems(11), 140):
        try:
            found.append((dataset, write_trace(dataset, question, answer, entry, rng)))
        except Unreadable:
            continue
    return found


def hidden(trace: Trace, at: int) -> bool:
    return any(low <= at < high for low, high in trace.hidden)


def test_every_family_is_there_and_most_questions_are_understood(traces: list[tuple[str, Trace]]) -> None:
    assert {dataset for dataset, _ in traces} == {name for name, _, _ in SOURCES} == {*FAMILIES, "countdown"}
    assert len(traces) > 100  # a worked solution that does not add up is left out


def test_every_step_is_true_unless_it_is_a_slip(traces: list[tuple[str, Trace]]) -> None:
    seen = slips = 0
    for _, trace in traces:
        for match in STEP.finditer(trace.thinking):
            left, op, right, result = int(match[1]), match[2], int(match[3]), int(match[4])
            true = {"+": left + right, "-": left - right, "*": left * right}.get(op)
            if true is None:
                true = left // right if left % right == 0 else None
            assert (result == true) != hidden(trace, match.start(4)), match[0]
            seen += 1
            slips += result != true
    assert seen > 800
    assert slips > 10


def test_the_last_stated_answer_is_the_right_one(traces: list[tuple[str, Trace]]) -> None:
    mended = 0
    for _, trace in traces:
        stated = re.findall(r"^So the answer is (.+?)\.$", trace.thinking, re.MULTILINE)
        assert stated[-1] == trace.answer
        mended += stated[0] != trace.answer
        assert split_of(trace.question) == "train"
    assert mended > 3


def test_a_wrong_comparison_is_always_noticed(traces: list[tuple[str, Trace]]) -> None:
    for _, trace in traces:
        for match in re.finditer(r"= (-?\d+), and it should be (-?\d+)\. (.+?)[.,]", trace.thinking):
            holds = match[3] in ("That fits", "Good", "Yes", "That matches")
            assert holds == (match[1] == match[2]), match[0]


def test_paragraphs_begin_where_they_are_said_to(traces: list[tuple[str, Trace]]) -> None:
    for _, trace in traces:
        for at in trace.paragraphs:
            assert trace.thinking[at - 2 : at] == "\n\n"
            assert not trace.thinking[at:].startswith("So the answer is")


def test_the_way_of_one_problem_to_the_word() -> None:
    """7 + 8 with a slip: found by undoing it, done again, checked again."""
    prose = Prose(random.Random(0), 0.0)
    prose.say("Seven and eight.")
    prose.done = [Done(7, "+", 8, 16)]
    assert not prose.check()
    assert prose.text.startswith("Seven and eight.\n16 - 8 = 8, and it should be 7.")
    prose.done = [Done(7, "+", 8, 15)]
    assert prose.check()
    assert "15 - 8 = 7, and it should be 7." in prose.text
    with pytest.raises(Uneven):
        prose.step(7, "/", 2)


@pytest.mark.parametrize(
    ("family", "metadata", "question", "answer"),
    [
        ("simple_equations", {"equation": "56 - 98*e = -1218"}, "", 13),
        ("simple_equations", {"equation": "20*h + 65 = 1485"}, "", 71),
        ("simple_equations", {"equation": "x = 5"}, "", 5),
        ("basic_arithmetic", {"expression": "-( ( -9 - 6 ) - -( -3 * 4 ) ) * 2 / 2"}, "", 27),
        ("basic_arithmetic", {"expression": "-12 * -34"}, "", 408),
        ("basic_arithmetic", {"expression": "12 * -34"}, "", -408),
        ("leg_counting", {}, "how many legs are there in total if you have 5 woodlouses, 2 leechs?\n", 70),
        ("gsm_symbolic", {"answer_cot": "He has 35 * 3 = 105 kiwi\nand 105+35=140 fruits\n#### 140"}, "", 140),
    ],
)
def test_solvers(family: str, metadata: Any, question: str, answer: int) -> None:
    prose = Prose(random.Random(1), 0.0)
    entry = {"metadata": metadata, "answer": str(answer)}
    assert FAMILIES[family](question, entry)(prose) == answer


@pytest.mark.parametrize(
    ("family", "metadata"),
    [
        ("simple_equations", {"equation": "0 = 0"}),
        ("gsm_symbolic", {"answer_cot": "It receives 48=48\n2+2=5\n#### 5"}),
        ("gsm_symbolic", {"answer_cot": "so 2 + 3 = 5\n#### 6"}),
    ],
)
def test_what_is_not_understood_is_left_out(family: str, metadata: Any) -> None:
    with pytest.raises(Unreadable):
        FAMILIES[family]("?", {"metadata": metadata, "answer": "6"})


def test_examples_are_whole_cut_or_without_thinking(traces: list[tuple[str, Trace]]) -> None:
    rng = random.Random(3)
    kinds = {"whole": 0, "cut": 0, "direct": 0}
    for _, trace in traces * 3:
        pieces = make_example(trace, rng)
        text = "".join(piece.text for piece in pieces)
        assert text.startswith(prompt_text(trace.question))
        assert text.endswith(visible(trace.answer) + END)
        assert text.count("</think>") == 1
        assert not pieces[0].graded
        graded = "".join(piece.text[low:high] for piece in pieces for low, high in piece.graded)
        kind = {2: "whole", 3: "direct", 4: "cut"}[len(pieces)]
        kinds[kind] += 1
        assert ("</think>" in graded) == (kind == "whole")  # a forced end is not learned
        if kind == "whole":
            assert len(graded) == len(pieces[1].text) - sum(high - low for low, high in trace.hidden)
        if kind == "direct":
            assert pieces[1].text == SKIP
        if kind == "cut":
            assert pieces[2].text == CLOSE
            assert trace.thinking.startswith(pieces[1].text)
    assert min(kinds.values()) > 15


def test_the_prompt_is_what_the_template_renders(tiny_tokenizer: Any) -> None:
    rendered = tiny_tokenizer.apply_chat_template(
        [{"role": "user", "content": "Q?"}], chat_template=TEMPLATE, add_generation_prompt=True, tokenize=False
    )
    assert rendered == prompt_text("Q?")


def test_labels_are_the_graded_tokens_and_batches_read_them(tiny_tokenizer: Any, tmp_path: Path) -> None:
    tokenizer = tiny_tokenizer.backend_tokenizer
    rows = []
    for pieces in itertools.islice(examples(5), 6):
        ids, labels = tokenise(pieces, tokenizer)
        assert all(label in (token, IGNORED) for token, label in zip(ids, labels, strict=True))
        begin = len(tokenizer.encode(pieces[0].text, add_special_tokens=False).ids)
        assert set(labels[:begin]) == {IGNORED}
        said = "".join(p.text[low:high] for p in pieces for low, high in p.graded)
        assert tokenizer.decode([t for t in labels if t != IGNORED], skip_special_tokens=False) == said
        rows.append((ids, labels))
    noted = save_rows(tmp_path / "shard.npz", rows)
    assert noted == {"examples": 6, "tokens": sum(len(ids) for ids, _ in rows)}
    batches = Batches([tmp_path / "shard.npz"], tokens=4096, seed=0)
    found = sorted(tuple(int(t) for t in ids) for ids, _ in batches.rows)
    assert found == sorted(tuple(ids) for ids, _ in rows)
    assert batches.rows[0][0].dtype == np.int32  # the vocabulary is larger than 16 bits hold


@pytest.fixture(scope="module")
def tiny_tokenizer() -> Any:
    """The pocket model's tokenizer: a real one, that is always there."""
    from transformers import AutoTokenizer

    from satisfice.models.resolve import model_folder

    return AutoTokenizer.from_pretrained(model_folder("pocket"))
