"""Builders on chains that can be read, and the worked examples of their sources."""

import numpy as np
import pytest

from satisfice.core.builder import Row
from satisfice.core.errors import BadInput
from satisfice.core.problem import Verdict
from satisfice.methods.tuning.adar1 import Adar1, gain
from satisfice.methods.tuning.braking import dynamic_brake, overthink_score
from satisfice.methods.tuning.concise_data import ConciseData
from satisfice.methods.tuning.concise_pairs import ConcisePairs
from satisfice.methods.tuning.dualformer import Dualformer, level_drawn
from satisfice.methods.tuning.first_correct import FirstCorrect
from satisfice.methods.tuning.first_correct_plus_one import FirstCorrectPlusOne
from satisfice.methods.tuning.first_try_data import FirstTryData
from satisfice.methods.tuning.length_priming import LengthPriming
from satisfice.methods.tuning.pir import Pir, importance, pruned
from satisfice.methods.tuning.recut import Recut, reward
from satisfice.methods.tuning.self_braking_dynamic import SelfBrakingDynamic
from satisfice.methods.tuning.self_braking_exact import SelfBrakingExact
from satisfice.methods.tuning.self_lengthen import SelfLengthen, keep_probability
from satisfice.methods.tuning.short_long import ShortLong
from satisfice.methods.tuning.step_mask import StepMask
from satisfice.methods.tuning.thought_mask import ThoughtMask
from satisfice.testing import trace

FIRST, LOOK, AGAIN = "1+3=4\nso 4\n", "Wait, back 4-3=1 ok\n", "Check, 4 it is\n"


def told(row: Row) -> list[tuple[str, bool]]:
    """Return the text of each part with whether it is trained on."""
    return [(part.text, part.trained) for part in row.parts]


def test_first_correct_ends_where_the_answer_is_right_first() -> None:
    (row,) = FirstCorrect()([trace(FIRST, LOOK, AGAIN)])
    assert told(row) == [(FIRST, True), ("</think>", True), ("4", True)]
    (row,) = FirstCorrect()([trace("so 5\n", LOOK, AGAIN, verdicts="wrr")])
    assert told(row) == [("so 5\n" + LOOK, True), ("</think>", True), ("4", True)]
    (row,) = FirstCorrect()([trace("so 5\n", "Wait, so 4\n", verdicts="wr")])
    assert told(row) == [("so 5\nWait, so 4\n</think>4", True)]  # its first right answer is its own
    assert FirstCorrect()([trace(FIRST, LOOK, verdicts="rw")]) == []  # spoiled: not a right chain


def test_plus_one_keeps_the_look_that_confirms() -> None:
    (row,) = FirstCorrectPlusOne()([trace(FIRST, LOOK, AGAIN)])
    assert row.parts[0].text == FIRST + LOOK
    (row,) = FirstCorrectPlusOne()([trace(FIRST, "Wait, 5\n", AGAIN, AGAIN, verdicts="rwrr")])
    assert row.parts[0].text == FIRST + "Wait, 5\n" + AGAIN + AGAIN + "</think>4"  # right, lost, right, confirmed
    (row,) = FirstCorrectPlusOne()([trace(FIRST, LOOK)])
    assert row.parts[0].ids == row.trace.ids  # confirmed by its end


def test_what_the_thinking_states_may_count_in_place_of_what_the_model_answers_when_it_is_asked() -> None:
    chain = trace(FIRST, LOOK, AGAIN, verdicts="wrr")  # asked after the first solution, it says something else
    (asked,), (stated,) = FirstCorrect()([chain]), FirstCorrect(at="stated")([chain])
    assert [text for text, _ in told(asked)] == [FIRST + LOOK, "</think>", "4"]
    assert [text for text, _ in told(stated)] == [FIRST, "</think>4"]
    (confirmed,) = FirstCorrectPlusOne(at="stated")([chain])
    assert [text for text, _ in told(confirmed)] == [FIRST + LOOK, "</think>4"]
    mended = trace("so 5\n", "Wait, no\nso 4\n", AGAIN, verdicts="rrr")
    (row,) = FirstCorrect(at="stated")([mended])
    assert row.parts[0].text == "so 5\nWait, no\nso 4\n"


def test_a_cue_before_the_first_answer_ends_no_solution() -> None:
    chain = trace("hm 1+3\n", "Wait, 4\nso 4\n", LOOK)
    assert [chain.text(one.begin, one.end) for one in chain.solutions] == ["hm 1+3\nWait, 4\nso 4\n", LOOK]
    silent = trace("hm 1+3\n", "Wait, 4\n", LOOK)  # a model that never says an answer as its profile knows one
    assert len(silent.solutions) == 3


def test_the_score_and_the_dynamic_brake() -> None:
    added = [(60, 2), (70, 3), (50, 4), (90, 3)]
    sizes = np.cumsum([size for size, _ in added])
    marks = np.cumsum([marked for _, marked in added])
    scores = [
        overthink_score(8, 8 + n, int(m), 800 + int(t)) for n, (t, m) in enumerate(zip(sizes, marks, strict=True), 1)
    ]
    assert scores == pytest.approx([0.1002, 0.1805, 0.2464, 0.3011], abs=1e-4)
    assert dynamic_brake(8, 800, added) == (3, 4)
    assert dynamic_brake(8, 800, added[:3]) is None
    assert dynamic_brake(8, 800, []) is None
    assert dynamic_brake(1, 10, [(5, 0)]) == (1, 1)  # both at once: nothing is masked


def test_exact_braking_masks_the_beginning_of_the_next_solution() -> None:
    chain = trace(FIRST, LOOK, "Check, one.\nstill two.\nand three.\n", AGAIN)
    (row,) = SelfBrakingExact()([chain])
    brake = SelfBrakingExact.words.brake
    assert told(row) == [
        (FIRST + LOOK, True), ("Check, one.\nstill two.\n", False), (brake, True), ("</think>", True), ("4", True),
    ]  # fmt: skip
    (row,) = SelfBrakingExact(brake_first=True)([chain])
    assert [text for text, _ in told(row)][1:3] == [brake, "Check, one.\nstill two.\n"]
    (row,) = SelfBrakingExact(threshold=0.9)([chain])
    assert told(row) == [(chain.text(), True)]


def test_dynamic_braking_keeps_steps_with_the_loss_off() -> None:
    chain = trace("1 + 1 = 2\n" * 9 + "so 4\n", *["Wait, 4\n"] * 6)
    (row,) = SelfBrakingDynamic()([chain])
    # 0.9 (1 - 10 / (10 + n)) and a tenth of the share of markers: the third step is above .2, the fourth above .25
    assert told(row)[:3] == [
        ("1 + 1 = 2\n" * 9 + "so 4\n" + "Wait, 4\n" * 3, True), ("Wait, 4\n", False),
        (SelfBrakingDynamic.words.brake, True),
    ]  # fmt: skip


def test_importance_of_steps_and_which_go() -> None:
    values = [importance((0.9, 0.8), p) for p in ((0.85, 0.8), (0.92, 0.82), (0.5, 0.4))]
    assert values == pytest.approx([0.0286, -0.0233, 0.6405], abs=5e-5)
    kinds = ["progressive", *["verification"] * 4]
    assert pruned(kinds, {0: -9, 1: 0.5, 2: -0.4, 3: 0.1, 4: -0.9}, 0.5) == {2, 4}  # type: ignore[arg-type]
    assert pruned(["verification"], {0: -1.0}, 0.9) == set()  # a lone step survives
    assert pruned(["verification"], {0: -1.0}, 1.0) == {0}


def test_pir_leaves_looks_out_and_keeps_the_rest() -> None:
    chain = trace(FIRST, "Check, 4\n", "Check, yes 4\n", absence=[(3, 5, 0.5), (5, 8, -0.1)])
    (row,) = Pir(ratio=0.5)([chain])
    assert "".join(text for text, _ in told(row)) == FIRST + "Check, 4\n" + "</think>4"


def test_concise_stops_once_sure_and_prefers_that() -> None:
    chain = trace(FIRST, LOOK, AGAIN, certainty=[0.5, 0.99])
    (row,) = ConciseData()([chain])
    assert [text for text, _ in told(row)] == [FIRST + LOOK, ConciseData.words.assurance, "</think>", "4"]
    (pair,) = ConcisePairs()([chain])
    assert pair.chosen.form == row.form
    assert pair.rejected.parts[0].ids == chain.ids
    assert ConciseData()([trace(FIRST, LOOK, verdicts="wr", certainty=[0.99])]) == []  # sure, and wrong


def test_wrong_solutions_are_read_and_not_learned() -> None:
    (row,) = StepMask()([trace("so 5\n", "Wait, so 4\n", AGAIN, verdicts="wrr")])
    assert told(row) == [("so 5\n", False), ("Wait, so 4\n", True), (AGAIN, True), ("</think>4", True)]
    (row,) = StepMask(cut=True)([trace("so 5\n", "Wait, so 4\n", AGAIN, verdicts="wrr")])
    assert told(row) == [("so 5\n", False), ("Wait, so 4\n", True), ("</think>", True), ("4", True)]


def test_thoughts_are_read_and_the_last_solution_is_learned() -> None:
    (row,) = ThoughtMask()([trace("so 5\n", "Wait, so 4\n", verdicts="wr")])
    assert told(row) == [("so 5\n", False), ("Wait, so 4\n", True), ("</think>4", True)]
    assert ThoughtMask(improved=True)([trace(FIRST, LOOK)]) == []


def test_cut_at_the_ith_candidate() -> None:
    chain = trace(FIRST, *[LOOK] * 6, verdicts="rwrrrrr")
    (row,) = FirstTryData()([chain])
    assert row.parts[0].text == FIRST + LOOK * 5
    assert FirstTryData(candidates=2)([chain]) == []  # the answer changes there
    assert FirstTryData()([trace(FIRST, *[LOOK] * 5)]) == []  # too few
    few = FirstTryData(candidates=1, more_than=0, tokens=12)([trace(FIRST, name=str(n)) for n in range(5)])
    assert 0 < sum(row.size for row in few) <= 12


def test_rewards_and_pairs_of_recut() -> None:
    values = [reward(right, n) for right, n in ((True, 400), (True, 800), (False, 300), (False, 900))]
    assert values == pytest.approx([0.0025, 0.00125, -0.0033, -0.0011], abs=5e-5)
    short, long, wrong = trace(FIRST, name="a"), trace(FIRST, LOOK, name="b"), trace("so 5\n", name="c", verdicts="w")
    (pair,) = Recut()([long, wrong, short])
    assert (pair.chosen.trace, pair.rejected.trace) == (short, long)
    (pair,) = Recut(aim="accuracy")([long, wrong, short])
    assert (pair.chosen.trace, pair.rejected.trace) == (short, wrong)
    assert Recut()([trace(FIRST, name=n) for n in "ab"]) == []  # as long as each other


def test_the_gain_of_thinking_long() -> None:
    assert gain(11, 5, 12, 6000, 900) == pytest.approx(0.0809, abs=5e-5)
    assert gain(12, 11, 12, 6000, 900) * (6000 - 900) / 900 == pytest.approx(1 / 12 - 1 / 24)
    assert gain(10, 10, 12, 6000, 900) < 0
    assert gain(11, 5, 12, 900, 900) > 0  # the source divides by zero
    assert gain(5, 11, 12, 500, 900) < 0
    assert gain(10, 10, 12, 500, 900) > 0  # the long model is the shorter one here


def test_adar1_takes_the_style_that_pays_and_the_short_chains_in_it() -> None:
    long = [trace(FIRST, *[LOOK] * (n + 1), source=0, name=str(n)) for n in range(3)]
    short_right = [trace(FIRST, source=1, name=str(n)) for n in range(3)]
    pairs = Adar1()([*long, *short_right])  # equally right: short
    assert {pair.chosen.trace.source for pair in pairs} == {1}
    short_wrong = [trace("so 5\n", source=1, name=str(n), verdicts="w") for n in range(3)]
    pairs = Adar1()([*long, *short_wrong])
    assert {pair.chosen.trace.source for pair in pairs} == {0}
    assert [pair.rejected.trace.source for pair in pairs] == [1] * 4 + [0] * 2
    assert [len(pair.rejected.trace.ids) for pair in pairs[4:]] == [len(one.ids) for one in (long[2], long[1])]
    assert Adar1()(long) == []  # one model
    assert Adar1()(short_wrong) == []


def test_shortest_against_longest() -> None:
    chains = [trace(FIRST, *[LOOK] * n, name=str(n)) for n in range(3)]
    (pair,) = ShortLong()(chains)
    assert (pair.chosen.trace, pair.rejected.trace) == (chains[0], chains[2])
    assert ShortLong()(chains[:1]) == []
    assert ShortLong(gap=0.9)(chains) == []


def test_primed_prompts_state_three_numbers_that_agree() -> None:
    rows = LengthPriming()([trace(FIRST, LOOK, AGAIN)])
    assert [len(row.trace.steps) for row in rows] == [4, 4, 4]
    assert [row.note for row in rows] == ["2 steps", "3 steps", "4 steps"]
    assert [row.question.splitlines()[-1] for row in rows] == [
        f"A full solution has 4 steps. Think in {n} of them: leave {4 - n} out." for n in (2, 3, 4)
    ]
    assert [row.parts[0].text for row in rows][:2] == [FIRST, FIRST + LOOK]
    assert len(LengthPriming(least=2)([trace(FIRST, LOOK, AGAIN)])) == 2
    (row,) = LengthPriming()([trace(FIRST)])
    assert "leave 0 out" in row.question


def test_levels_of_dropping() -> None:
    maze = "create a c1 c2\ncreate b c2 c3\nclose a c1 c2\nclose b c2 c3\n"
    chain = trace(maze + "so 4\n")

    def text(**levels: float) -> str:
        (row,) = Dualformer(**{"level_1": 0, "level_2": 0, "level_3": 0, "level_4": 0} | levels)([chain])  # type: ignore[arg-type]
        return "".join(text for text, _ in told(row))

    assert text() == chain.text()
    assert text(level_1=1) == "create a c1 c2\ncreate b c2 c3\nso 4\n</think>4"
    assert text(level_2=1) == "create a create b so 4\n</think>4"
    assert text(level_3=1, share=1) == "so 4\n</think>4"
    assert text(level_4=1) == "</think>4"
    assert [level_drawn(u, (0.2, 0.2, 0.2, 0.1)) for u in (0.05, 0.25, 0.59, 0.65, 0.8)] == [1, 2, 3, 4, 0]
    with pytest.raises(BadInput, match="at most 1 together"):
        Dualformer(level_1=0.9, level_2=0.9)


def test_prose_loses_inner_steps() -> None:
    chains = [trace("one\ntwo\nthree\nfour\n", name=str(n)) for n in range(200)]
    rows = Dualformer(level_1=1, level_2=0, level_3=0, level_4=0)(chains)
    texts = ["".join(text for text, _ in told(row)) for row in rows]
    assert all(text.startswith("one\n") and text.endswith("four\n</think>4") for text in texts)
    gone = sum(("two" not in text) + ("three" not in text) for text in texts) / 400
    assert 0.2 < gone < 0.4


def test_long_chains_are_kept() -> None:
    assert [keep_probability(i, 5) for i in (0, 4)] == pytest.approx([0.0, 0.984])
    assert np.mean([keep_probability(i, 1000) for i in range(1000)]) == pytest.approx(0.59, abs=0.02)  # about 59 %
    chains = [trace(FIRST, *[f"Wait, {k}\n" for k in range(n)], name=f"{n:02}") for n in range(30)]
    rows = SelfLengthen()(chains)
    assert chains[0] not in [row.trace for row in rows]
    assert np.mean([row.size for row in rows]) > np.mean([len(one.ids) for one in chains])


def test_solutions_and_steps_tile_the_thinking() -> None:
    chain = trace(FIRST, LOOK, AGAIN, verdicts="wrr")
    assert [chain.text(*step) for step in chain.steps] == ["1+3=4\n", "so 4\n", LOOK, AGAIN]
    assert [(chain.text(s.begin, s.end), s.verdict) for s in chain.solutions] == [
        (FIRST, Verdict.WRONG), (LOOK, Verdict.RIGHT), (AGAIN, Verdict.RIGHT),
    ]  # fmt: skip
