"""The audit of training data, on chains that can be read."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.catalog import build
from satisfice.core.builder import BUILDER, Pair, Part, Row, whole
from satisfice.core.errors import BadInput
from satisfice.methods.tuning import FAMILY, FirstCorrect, FirstCorrectPlusOne, SelfBrakingExact, ShortLong, StepMask
from satisfice.testing import random_traces, trace
from satisfice.training.audit import audit, differs, effect, segments, shown, warnings
from satisfice.training.rows import encoded, lines, rows_of

FIRST, LOOK, AGAIN = "1+3=4\nso 4\n", "Wait, back 4-3=1 ok\n", "Check, 4 it is\n"
CHAINS = [trace(FIRST, LOOK, AGAIN, name="0"), trace(FIRST, LOOK, name="1"), trace("so 5\n", name="2", verdicts="w")]


def encode(text: str) -> list[int]:
    return [-ord(letter) for letter in text]  # no token of a chain


def text(ids: object) -> str:
    return ""


def test_a_row_in_tokens_has_the_loss_off_on_its_prompt_and_on_what_is_masked() -> None:
    (row,) = SelfBrakingExact(masked=1)([trace(FIRST, LOOK, AGAIN)])
    one = encoded(row, encode)
    assert len(one.ids) == len(one.trained)
    masked = sum(len(part.ids or ()) for part in row.parts if not part.trained)
    assert one.labels.count(-100) == len(one.prompt) + masked
    assert masked > 0
    brake = [-ord(letter) for letter in SelfBrakingExact.words.brake]
    assert "".join(map(chr, (-i for i in one.ids if i < 0))) == SelfBrakingExact.words.brake + "</think>"
    assert [i for i in one.labels if i < 0 and i != -100] == [i for i in [*brake, *encode("</think>")] if i != -100]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_labels_are_the_tokens_or_off_in_every_builder(seed: int) -> None:
    traces = random_traces(seed, problems=2, chains=2)
    for method in FAMILY.methods.values():
        for row in lines(method()(traces), encode, text, lambda question: [7, 8]):
            if "labels" in row:
                assert len(row["labels"]) == len(row["input_ids"])
                assert all(a in (b, -100) for a, b in zip(row["labels"], row["input_ids"], strict=True))
                assert any(label != -100 for label in row["labels"])
            else:
                assert row["chosen_ids"] != row["rejected_ids"]


def test_a_question_of_ones_own_takes_the_chat_form() -> None:
    row = replace(whole(CHAINS[0]), question="Think briefly.")
    with pytest.raises(BadInput, match="chat form"):
        encoded(row, encode)
    assert encoded(row, encode, lambda question: [7, 8]).prompt == (7, 8)


def test_what_was_cut_stands_where_it_was() -> None:
    (row,) = FirstCorrect()(CHAINS[:1])
    assert segments(row) == [
        {"kind": "kept", "text": FIRST}, {"kind": "written", "text": "</think>"}, {"kind": "cut", "text": LOOK + AGAIN},
        {"kind": "written", "text": "4"},
    ]  # fmt: skip
    (row,) = StepMask(cut=True)([trace("so 5\n", "Wait, so 4\n", AGAIN, verdicts="wrr")])
    assert [one["kind"] for one in segments(row)] == ["masked", "kept", "written", "cut", "written"]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_reader_shows_every_character_of_the_thinking_once(seed: int) -> None:
    traces = random_traces(seed, problems=2, chains=2)
    for method in FAMILY.methods.values():
        for row in rows_of(method()(traces)):
            own = [one["text"] for one in segments(row) if one["kind"] in ("kept", "masked", "cut")]
            assert "".join(own).startswith(row.trace.text(0, row.trace.thinking))


def test_figures_of_rows() -> None:
    found = audit(CHAINS, FirstCorrect()(CHAINS), FirstCorrect()(CHAINS), encode)
    assert (found["chains"], found["problems"], found["right"], found["n"], found["makes"]) == (3, 1, 2, 2, "rows")
    assert found["cut"]["rows"] == 1.0
    assert found["differs"] == {"rows": 0.0, "tokens": 0.0}
    assert found["duplicates"] == 1  # both chains begin alike, and nothing else is left of them
    size = 3 + len("</think>") + 2
    assert found["length"]["mean"] == size
    (row,) = found["effect"]
    assert row["spent"] == sum(len(one.ids) for one in CHAINS) / 3
    assert row["learned"] == size  # the wrong chain counts as the rows of its problem
    assert found["trained_share"] == size / (size + 2)


def test_how_builders_differ() -> None:
    plain = FirstCorrect()(CHAINS)
    other = differs(FirstCorrectPlusOne()(CHAINS), plain, encode)
    assert other is not None
    assert other["rows"] == 1.0
    assert 0 < other["tokens"] < 1
    masked = [replace(row, parts=(replace(row.parts[0], trained=False), *row.parts[1:])) for row in plain]
    assert differs(masked, plain, encode) != {"rows": 0.0, "tokens": 0.0}  # the same tokens, other labels
    assert differs([], plain, encode) is None
    assert differs(plain, [], encode) is None


def test_warnings_name_what_is_wrong() -> None:
    def told(made: object, evaluated: tuple[str, ...] = ()) -> str:
        return " ".join(warnings(audit(CHAINS, made, FirstCorrect()(CHAINS), encode, evaluated)))  # type: ignore[arg-type]

    short, long, wrong = map(whole, (CHAINS[1], CHAINS[0], CHAINS[2]))
    assert "1 rows to be learned end in an answer that is not right" in told([Pair(chosen=wrong, rejected=long)])
    assert "In 1 of 1 pairs the chosen row is longer" in told([Pair(chosen=long, rejected=short)])
    assert "1 problems are among those that models are compared on" in told([short], ("what is  P0?",))
    assert "Nothing was cut" in told([short])
    assert "Not one row differs" in told(FirstCorrect()(CHAINS))
    assert "copies of another" in told([short, short])
    assert told([Pair(chosen=short, rejected=long)]) == ""


def test_length_and_margin_of_pairs() -> None:
    chains = []
    for p in range(6):
        for n in (1, 2 + p):
            one = trace(FIRST, *[LOOK] * n, problem=f"p{p}", name=str(n))
            chains.append(replace(one, logprobs=(-0.5,) * len(one.ids)))
    found = audit(chains, ShortLong()(chains), [], encode)
    assert found["pairs"]["chosen_longer"] == 0
    assert found["pairs"]["correlation"] == pytest.approx(1.0)  # every token as likely: the margin is the length
    assert any("mostly learn length" in told for told in warnings(found))
    found = audit(CHAINS, ShortLong()(CHAINS), [], encode)
    assert (found["pairs"]["correlation"], found["pairs"]["with_margin"]) == (None, 0)


def test_an_audit_of_nothing_and_of_one_model_of_two() -> None:
    found = audit([], [], [], encode)
    assert (found["n"], found["effect"], found["length"], found["trained_share"]) == (0, [], None, None)
    both = random_traces(0)
    (row,) = effect(both, [], {})
    assert row["saving"] == 0
    assert row["chains"] == sum(one.source == both[0].source for one in both)


def test_the_reader_takes_the_extremes_and_no_more_than_asked() -> None:
    chains = [trace(FIRST, *[LOOK] * n, name=f"{n:02}") for n in range(1, 40)]
    rows = shown(FirstCorrect()(chains), limit=12)
    assert len(rows) == 12
    assert rows[0]["cut"] == max(row["cut"] for row in rows) == 39 * 4
    assert rows[-1]["cut"] == 4
    pairs = shown(build("concise-pairs(threshold=0)", BUILDER)([trace(FIRST, LOOK, certainty=[0.9])]))
    assert pairs[0]["rejected"]["size"] > pairs[0]["size"] - 2


def test_a_part_of_text_may_stand_first() -> None:
    one = CHAINS[0]
    row = Row(trace=one, parts=(Part(text="Hint. "), *whole(one).parts), verdict=one.verdict)
    assert [s["kind"] for s in segments(row)] == ["written", "kept"]
