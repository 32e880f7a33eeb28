"""Events, waiting lines and dates: the parts of the wire that need no server."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.errors import EngineError
from satisfice.engines.http import wire
from satisfice.engines.http.chunk import Chunk, Usage, read_chunk
from satisfice.engines.http.wire import Address, Broken, Gate, Patience, message_of, retry_after
from satisfice.engines.stateless import ComputedPrefix, computed_again

ADDRESS = Address(base="http://h/v1", key_env="NOT_SET_ANYWHERE", silence_s=1.0)


def events_of(parts: list[bytes]):
    left = iter([part for part in parts if part])

    async def read():
        return next(left, b"")

    async def work():
        return [event async for event in wire._events(read, ADDRESS)]

    return asyncio.run(work())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_events_do_not_depend_on_how_the_bytes_arrive(data):
    rows = data.draw(st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=9), min_size=1), max_size=5))
    rows = [{k: v for k, v in row.items() if k != "error"} for row in rows]
    end = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    said = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + b": a comment" + end
    for row in rows:
        written = json.dumps(row, indent=data.draw(st.sampled_from([None, 1]))).encode().split(b"\n")
        said += b"".join(b"data:" + b" " * data.draw(st.integers(0, 1)) + line + end for line in written) + end
    said += b"data: [DONE]" + end + end + b"data: {'never read" + end + end
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=8)))
    parts = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    assert events_of(parts) == rows


def test_line_ends_marks_and_lines_of_data_are_read_as_the_standard_says():
    assert events_of([b'\xef\xbb\xbfdata: {"a": 1}\n\n']) == [{"a": 1}]
    assert events_of([b"\xef", b"\xbb", b'\xbfdata: {"a": 1}\n\n']) == [{"a": 1}]
    assert events_of([b'data: {"a": 1}\r\rdata: {"b": 2}\r\r']) == [{"a": 1}, {"b": 2}]
    assert events_of([b'data: {"a": 1}\r', b"\n\r", b'\ndata:{"b": 2}\r\n\r\n']) == [{"a": 1}, {"b": 2}]
    assert events_of([b'data: {"a":\ndata: 1}\n\n']) == [{"a": 1}]
    with pytest.raises(EngineError, match="no JSON"):  # joined by a line end, 1 and 2 are two numbers
        events_of([b'data: {"a": 1\ndata: 2}\n\n'])
    assert events_of([b'data\ndata: {"a": 1}\n\nevent: x\nid: 7\ndata: {"b": 2}\n\n']) == [{"a": 1}, {"b": 2}]
    assert events_of([b'data:\n\ndata: {"a": 1}\n\n']) == [{"a": 1}]


def test_an_event_that_is_cut_off_is_no_event():
    assert events_of([b'data: {"a": 1}\n\nda', b'ta: {"b"']) == [{"a": 1}]
    assert events_of([b'data: {"a": 1}\n\ndata: {"b"\n']) == [{"a": 1}]
    assert events_of([b'data: {"a": 1}\n']) == [{"a": 1}]


@pytest.mark.parametrize(
    "said",
    [b'{"a": 1} {"b": 2}', b'{"a": ' + b"[" * 200_000, b"\xff\xfe", b"NaN x"],
    ids=["two", "deep", "bytes", "rest"],
)
def test_what_is_no_event_is_an_error_and_no_more(said):
    with pytest.raises(EngineError, match="no JSON"):
        events_of([b"data: " + said + b"\n\n"])


def test_an_endless_event_is_refused(monkeypatch):
    monkeypatch.setattr(wire, "TOO_LONG", 1 << 20)
    with pytest.raises(EngineError, match="more than 1 MB"):
        events_of([b"data: " + b"x" * 300_000] + [b"x" * 300_000] * 10)


@pytest.mark.parametrize(
    "event",
    [
        {"choices": [{"text": ["a"]}]}, {"choices": {"a": 1}}, {"choices": ["a"]}, {"choices": [{"token_ids": ["a"]}]},
        {"choices": [{"logprobs": {"tokens": ["a"], "token_logprobs": ["x"]}}]},
        {"choices": [{"logprobs": {"tokens": ["a"], "token_logprobs": [0.5]}}]},
        {"choices": [{"logprobs": {"tokens": ["a"], "token_logprobs": []}}]},
        {"choices": [{"logprobs": {"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": [7]}}]},
        {"usage": {"prompt_tokens": "many"}}, {"usage": [1]},
    ],
)  # fmt: skip
def test_events_of_another_form_are_refused(event):
    with pytest.raises(EngineError, match="not OpenAI's"):
        read_chunk(event)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: (
            st.lists(x)
            | st.dictionaries(
                st.sampled_from(["choices", "text", "logprobs", "tokens", "usage", "token_ids", "top_logprobs"]), x
            )
        ),
        max_leaves=12,
    )
)
def test_an_event_is_read_into_what_it_should_hold_or_refused(value):
    try:
        chunk = read_chunk({"choices": [value], "usage": None})
    except EngineError:
        return
    assert isinstance(chunk.text, str)
    assert all(type(i) is int for i in (*(chunk.ids or ()), *(chunk.prompt_ids or ())))
    assert all(value is None or value <= 1e-3 for value in chunk.logprobs)
    assert chunk.pieces is None or len(chunk.pieces) == len(chunk.logprobs)
    assert chunk.usage is None or isinstance(chunk.usage, Usage)


def test_log_probabilities_come_in_the_form_of_chat_too():
    lines = [
        {
            "id": 7, "token": " so", "bytes": [32, 115, 111], "logprob": -0.25,
            "top_logprobs": [{"id": 7, "token": " so", "logprob": -0.25}, {"id": 9, "token": "\ufffd", "logprob": -3.0},
                             {"id": 8, "token": "\ufffd", "logprob": -2.0}],
        },
        {"id": 3, "token": " 46", "logprob": -1.5, "top_logprobs": []},
    ]  # fmt: skip
    chunk = read_chunk({"choices": [{"text": " so 46", "logprobs": {"content": lines}, "finish_reason": None}]})
    assert chunk == Chunk(
        text=" so 46", pieces=(" so", " 46"), logprobs=(-0.25, -1.5), top=({" so": -0.25, "\ufffd": -2.0}, {})
    )
    for wrong in (7, [{"token": "a"}], [{"logprob": -1.0}], [{"token": "a", "logprob": "x"}], ["a"]):
        with pytest.raises(EngineError, match="not OpenAI's"):
            read_chunk({"choices": [{"text": "a", "logprobs": {"content": wrong}}]})


def test_the_urgent_go_first_and_the_cancelled_leave_no_hole():
    async def work():
        gate, order = Gate(1), []

        async def one(name, urgent):
            async with gate.slot(urgent=urgent):
                order.append(name)
                await asyncio.sleep(0)

        async with gate.slot(urgent=False):
            names = [("a", False), ("b", False), ("c", True), ("d", True)]
            tasks = [asyncio.create_task(one(name, urgent)) for name, urgent in names]
            await asyncio.sleep(0)
            tasks[0].cancel()
        tasks[2].cancel()  # it was given the place just now
        await asyncio.gather(*tasks, return_exceptions=True)
        await one("e", False)
        return order

    assert asyncio.run(work()) == ["d", "b", "e"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.booleans()), max_size=20), st.integers(1, 4))
def test_a_gate_is_never_fuller_than_its_size_and_ends_empty(visits, size):
    async def work():
        gate, inside, most = Gate(size), 0, 0

        async def visit(urgent, steps):
            nonlocal inside, most
            async with gate.slot(urgent=urgent):
                inside += 1
                most = max(most, inside)
                try:
                    for _ in range(steps):
                        await asyncio.sleep(0)
                finally:
                    inside -= 1

        tasks = [(asyncio.create_task(visit(urgent, steps)), leave) for urgent, steps, leave in visits]
        await asyncio.sleep(0)
        for task, leave in tasks:
            if leave:
                task.cancel()
        await asyncio.wait_for(asyncio.gather(*(task for task, _ in tasks), return_exceptions=True), 5)
        return most, gate._free

    most, free = asyncio.run(work())
    assert most <= size == free


def test_patience_counts_from_the_last_token():
    async def work():
        patience = Patience(0.8)
        for _ in range(2):
            await patience.after(Broken("gone"))
            patience.progress()
        with pytest.raises(EngineError, match=r"gone \(given up after 3 tries"):
            await patience.after(Broken("gone", wait_s=5.0))

    asyncio.run(work())


def test_dates_and_messages():
    later = datetime.now(UTC) + timedelta(seconds=30)
    assert 25 < (retry_after(format_datetime(later, usegmt=True)) or 0) <= 30
    assert [retry_after(text) for text in ("", "-1", "inf", "nan", "1.5")] == [None, None, None, None, 1.5]
    assert message_of(b'{"error": {"message": "a"}}') == message_of(b'{"detail": "a"}') == message_of(b"a") == "a"
    assert message_of(b'{"detail": [{"loc": 1}]}') == '[{"loc": 1}]'
    assert len(ADDRESS.scrub("x" * 1000)) < 310


def test_only_what_was_computed_before_is_computed_again():
    base = ComputedPrefix(10)
    first, second = base.fork(10), base.fork(10)
    assert first.begin() == 0
    assert second.begin() == 10  # the prompt has been read by then
    first.end(50)
    fork = first.fork(30)
    assert (fork.begin(), first.begin(), second.begin()) == (30, 50, 10)
    first.cut(20)
    assert first.begin() == 20
    assert computed_again(30, 35, 16) == 14
    assert computed_again(30, 30, 29) == 0
