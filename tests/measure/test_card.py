"""The figures of a model card, on chains whose figures are known by hand."""

import asyncio
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from satisfice.core.card import Need
from satisfice.core.engine import Request, random_key
from satisfice.core.errors import Unfit
from satisfice.core.problem import Problem
from satisfice.engines.scripted import END, SCRIPTED, ScriptedEngine
from satisfice.measure.card import CUES, DEFINITIONS, GRID, measure_card, read_problem
from satisfice.tasks import load_task

SETTLED = "so 4\nWait, ok\nWait, ok\n</think>4"  # 14 tokens of thinking; the right answer stands after 3 of them
REPAIRED = "so 5\nWait, so 4\n</think>4"  # 11 tokens; after 10


def script(so_far: str, request: Request) -> str | tuple[str, float]:
    if not so_far:
        return "so "
    for story in (SETTLED, REPAIRED):
        if so_far == "so ":
            story = SETTLED if request.key % 2 else REPAIRED
        if story.startswith(so_far):
            return story[len(so_far) :] or END
    thinking, _, answer = so_far.rpartition("</think>")
    if answer:
        return END, 0.0
    said = [word[:1] for word in thinking.split("so ")[1:]]
    return (said[-1], -0.1 if said[-1] == "4" else -1.0) if said else ("0", 0.0)


def jsonl(folder: Path, name: str, problems: int) -> str:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"question": f"{name} {n}", "answer": "4"}) + "\n" for n in range(problems)))
    return str(path)


def test_figures_of_known_chains(tmp_path: Path) -> None:
    tasks = [jsonl(tmp_path, "easy", 20), jsonl(tmp_path, "hard", 40)]
    engine = ScriptedEngine(script)
    card = measure_card(engine, limit=40, tasks=tasks)
    assert engine.open_sequences == 0
    json.dumps(card, allow_nan=False)
    assert set(DEFINITIONS) <= set(card)

    settled = [random_key(0, problem.id, "0") % 2 for problem in load_task(tasks[1]).problems]
    share = sum(settled) / len(settled)
    assert 0.2 < share < 0.8, "the script tells both stories"
    assert card["thinking_gain"] == 1  # answering at once says 0
    assert card["reflection_gain"] == pytest.approx(1 - share)
    assert card["reflection_gain_low"] < card["reflection_gain"] < card["reflection_gain_high"]
    assert card["confidence_auroc"] == 1
    assert card["confidence_auroc_second_cue"] is None  # whoever reaches a second cue is right: nothing to tell apart
    assert card["full_truncated_rate"] == 0
    assert card["full_minus_best_prefix"] == 1
    assert card["first_cue_tokens"] == 4
    assert card["tiers"][tasks[1]]["accuracy_by_prefix"] == {"0": 0.0}
    easy = [random_key(0, problem.id, "0") % 2 for problem in load_task(tasks[0]).problems]
    after = [1 - 3 / 14 if right_at_once else 1 - 10 / 11 for right_at_once in easy]
    assert card["overthinking_share"] == pytest.approx(np.mean(after))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from(["x", "y", "Wait", "\n"]), max_size=100))
def test_the_grid_is_hit_at_every_multiple_and_cues_where_they_stand(words: list[str]) -> None:
    story = " ".join(words) + "</think>4"

    def tell(so_far: str, request: Request) -> str:
        if story.startswith(so_far) and not (so_far.endswith("</think>") and request.temperature == 0):
            return story[len(so_far) :] or END
        return END if so_far.endswith("4") else "4"

    engine = ScriptedEngine(tell)
    problem = Problem(id="a", task="t@1", question="q", answer="4")
    reading = asyncio.run(read_problem(engine, problem, 0, lambda answer: float(answer == "4")))
    pieces = engine.encode(" ".join(words))
    assert reading.thinking == len(pieces)
    assert len(reading.prefixes) == math.ceil((len(pieces) + 1) / GRID)  # the closing tag is a token of thinking too
    waits = [at for at, piece in enumerate(pieces) if piece == engine.encode("Wait")[0]]
    assert [at for at, _, _ in reading.cues] == waits[:CUES]
    assert reading.final == reading.direct == 1


def test_an_engine_that_cannot_look_is_refused_before_anything_runs() -> None:
    engine = ScriptedEngine(script)
    engine.provides = frozenset({Need.INJECT})
    with pytest.raises(Unfit, match="log-probabilities"):
        measure_card(engine, limit=1)
    assert engine.tokens == 0


def test_without_a_form_of_stated_answers_those_figures_are_missing_and_not_zero(tmp_path: Path) -> None:
    engine = ScriptedEngine(script, profile=replace(SCRIPTED, stated_answer=""))
    card = measure_card(engine, limit=5, tasks=[jsonl(tmp_path, "easy", 5)])
    assert card["reflection_gain"] is None
    assert card["overthinking_share"] is None
    assert card["thinking_gain"] == 1
