"""JSONL files come from outside: every defect is named with its line, before anything is computed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from satisfice.core.errors import BadInput
from satisfice.tasks import load_task
from satisfice.tasks.jsonl import MAX_LINE_BYTES, read_jsonl

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
        (b'{"question": "' + b"x" * MAX_LINE_BYTES + b'", "answer": "1"}\n', "line 1.*longer"),
    ],
)
def test_a_bad_file_is_refused_with_file_line_and_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(BadInput, match=f"mine.jsonl.*{reason}"):
        read_jsonl(write(tmp_path, data))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        load_task(str(tmp_path / "none.jsonl"))


def test_a_file_is_one_split(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="another file"):
        load_task(write(tmp_path, GOOD), "calibration")


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
