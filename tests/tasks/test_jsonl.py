"""JSONL files come from outside: every defect is named with its line, before anything is computed."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.tasks import SPLITS, load_task, load_tasks
from satisfice.tasks.jsonl import MAX_DEPTH, MAX_LINE_BYTES, read_jsonl
from satisfice.tasks.load import split_of

GOOD = b'{"question": "1+1?", "answer": 2, "source": "me"}\n'


def write(folder: Path, data: bytes) -> str:
    path = folder / "mine.jsonl"
    path.write_bytes(data)
    return str(path)


def test_rows_become_problems(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + GOOD + b'\n  \n{"id": "b", "question": "2+2?", "answer": "4"}')
    first, second = load_task(path).problems
    assert (first.question, first.answer, first.metadata) == ("1+1?", "2", {"source": "me"})
    assert (second.id, second.answer, second.task) == ("b", "4", path)
    assert len(load_task(path, limit=1).problems) == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no problems"),
        (b"\n\n", "no problems"),
        (GOOD + b'{"question": "x"}\n', "line 2.*'answer' is missing"),
        (GOOD + b'{"answer": "x"}\n', "line 2.*'question' is missing"),
        (GOOD + b"\xff\xfe\n", "line 2.*UTF-8"),
        (GOOD + b"{question: 1}\n", "line 2.*not JSON"),
        (b"[" * 100_000 + b"\n", "line 1.*not JSON"),
        (b'["question", "answer"]\n', "line 1.*not a JSON object"),
        (b'{"question": "x", "answer": null}\n', "line 1.*'answer'"),
        (b'{"question": "x", "answer": true}\n', "line 1.*'answer'"),
        (b'{"question": " ", "answer": "1"}\n', "line 1.*'question' is empty"),
        (b'{"question": "\\ud800", "answer": "1"}\n', "line 1.*broken character"),
        (GOOD + GOOD, "line 2.*also on line 1"),
        (b'{"question": "x", "answer": NaN}\n', "line 1.*not JSON .NaN is no number"),
        (b'{"question": "x", "answer": -Infinity}\n', "line 1.*-Infinity is no number"),
        (b'{"question": "x", "answer": 1e400}\n', "line 1.*1e400 is beyond every number"),
        (b'{"question": "x", "answer": "1", "level": [{"a": -1E999}]}\n', "line 1.*beyond every number"),
        (b'{"question": "x", "answer": "1", "deep": ' + b"[" * 900 + b"]" * 900 + b"}\n", "line 1.*nested more than"),
        (b'{"question": "' + b"x" * MAX_LINE_BYTES + b'", "answer": "1"}\n', "line 1.*longer"),
    ],
)
def test_a_bad_file_is_refused_with_file_line_and_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=f"mine.jsonl.*{reason}"):
        read_jsonl(write(tmp_path, data))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_task(str(tmp_path / "none.jsonl"))


def rows(*pairs: tuple[str, str | None]) -> bytes:
    """Questions, each in the split that its row says."""
    return b"".join(
        json.dumps({"question": q, "answer": "1", **({} if split is None else {"split": split})}).encode() + b"\n"
        for q, split in pairs
    )


def test_a_file_without_a_word_on_it_is_all_eval(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    assert len(load_task(path).problems) == 1
    for split in ("train", "calibration"):
        with pytest.raises(BadInput, match=rf"none of its 1 problems is in the split '{split}'.*split=hash"):
            load_task(path, split)


def test_rows_may_say_their_split(tmp_path: Path) -> None:
    path = write(tmp_path, rows(("a", "train"), ("b", "eval"), ("c", "train"), ("d", "calibration")))
    found = {split: [p.question for p in load_task(path, split).problems] for split in SPLITS}
    assert found == {"train": ["a", "c"], "calibration": ["d"], "eval": ["b"]}
    assert [p.question for p in load_task(f"{path}?split=eval").problems] == ["a", "b", "c", "d"]  # the name wins


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (rows(("a", "train"), ("b", "test")), "", "the split 'test'; it must be one of train"),
        (rows(("a", "train"), ("b", None)), "", "the split None"),
        (rows(("a", None), ("b", "train")), "", "has a 'split' and others have none"),
        (rows(("a", None)), "?split=hsah", "Did you mean 'hash'"),
        (rows(("a", None)), "?splt=hash", "Did you mean 'split'"),
    ],
)
def test_a_split_that_cannot_be_read_is_refused(tmp_path: Path, data: bytes, name: str, reason: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(BadInput, match=reason):
        load_task(path + name, "train")


@given(st.sets(st.text(min_size=1).filter(str.strip), min_size=30, max_size=60))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_by_hash_every_question_is_in_one_split(tmp_path_factory: pytest.TempPathFactory, questions: set[str]) -> None:
    questions = {q for q in questions if q.encode("utf-8", "ignore").decode() == q}
    name = write(tmp_path_factory.mktemp("hash"), rows(*((q, None) for q in questions))) + "?split=hash"
    found = []
    for split in SPLITS:
        try:
            task = load_task(name, split)
        except BadInput:  # none of so few
            continue
        assert {problem.task for problem in task.problems} == {task.name} == {name}
        assert {split_of(problem.question) for problem in task.problems} == {split}
        found += [problem.question for problem in task.problems]
    assert sorted(found) == sorted(questions)


def test_one_file_is_one_task_however_it_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "linked.jsonl").symlink_to("mine.jsonl")
    (tmp_path / "copied.jsonl").write_bytes(GOOD)
    assert load_task("./mine.jsonl").name == load_task(".//x/../mine.jsonl").name == "mine.jsonl"
    for other in (
        "./mine.jsonl",
        str(tmp_path / "mine.jsonl"),
        "linked.jsonl",
        "copied.jsonl",
        "mine.jsonl?split=eval",
    ):
        with pytest.raises(BadInput, match="have the same problems"):
            load_tasks(["mine.jsonl", other])


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**9), max_value=10**9, places=25))
@settings(max_examples=200)
def test_a_number_is_kept_as_it_is_written(tmp_path_factory: pytest.TempPathFactory, answer: Decimal) -> None:
    text = f"{answer:f}"
    path = write(tmp_path_factory.mktemp("numbers"), f'{{"question": "x", "answer": {text}}}'.encode())
    assert read_jsonl(path)[0].answer == text


@given(st.integers(1, 60), st.sampled_from("[{"), st.text(alphabet='[{"\\ab', max_size=8))
@settings(max_examples=200)
def test_nesting_is_counted_outside_of_texts(
    tmp_path_factory: pytest.TempPathFactory, depth: int, kind: str, text: str
) -> None:
    inner: object = text
    for _ in range(depth):
        inner = [inner] if kind == "[" else {text: inner}
    path = write(tmp_path_factory.mktemp("deep"), json.dumps({"question": "x", "answer": "1", "rest": inner}).encode())
    if depth < MAX_DEPTH:  # the row itself is one level
        assert read_jsonl(path)[0].metadata == {"rest": inner}
    else:
        with pytest.raises(BadInput, match="nested more than"):
            read_jsonl(path)


@given(st.binary(max_size=200))
def test_any_bytes_are_problems_or_bad_input(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = write(tmp_path_factory.mktemp("bytes"), data)
    try:
        found = read_jsonl(path)
    except BadInput:
        return
    assert found


@given(st.text(min_size=1).filter(str.strip), st.integers())
def test_what_json_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, question: str, answer: int) -> None:
    path = write(tmp_path_factory.mktemp("rows"), json.dumps({"question": question, "answer": answer}).encode())
    (problem,) = read_jsonl(path)
    assert (problem.question, problem.answer) == (question, str(answer))
