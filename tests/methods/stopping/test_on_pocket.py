"""Every rule on the real pocket model: it runs, its books agree with the engine, and it does what it is for."""

import asyncio
from collections.abc import Sequence

import pytest

from satisfice.catalog import build, check_fit
from satisfice.core.card import Need
from satisfice.core.errors import Unfit
from satisfice.core.session import Session, Solution, solve
from satisfice.methods.stopping import FAMILY
from satisfice.tasks import load_task

SPECS = {
    "answer-consistency": "answer-consistency(k=3)",
    "deepconf-line": "deepconf-line(window=32, below=none, above=13.8)",
    "dynasor-cot": "dynasor-cot(chunk=16, k=2)",
    "entropy-settled": "entropy-settled(window=16)",
    "es-cot": "es-cot(d_min=3)",
    "fixed-budget": "fixed-budget(tokens=40, at=step)",
}
LEARNED = {"first-try", "knowing-before-saying", "lynx", "specexit", "stop-value"}
"""They need an artefact; tests/bench/test_calibrate_on_pocket.py makes two and runs them."""

pytestmark = pytest.mark.slow


async def run(specs: Sequence[str], problems: int) -> dict[str, list[Solution]]:
    from satisfice.engines.local.engine import LocalEngine

    engine = LocalEngine("pocket", rows=64, batch=64)
    task = load_task("chain-sum:easy", split="calibration", limit=problems)
    async with engine:
        found: dict[str, list[Solution]] = {}
        for spec in specs:
            rule = build(spec)
            before = engine.counters.sampled
            sessions = [Session(engine, problem, chain_limit=400) for problem in task.problems]
            found[spec] = list(await asyncio.gather(*(solve(rule, session) for session in sessions)))
            booked = sum(solution.ledger.spent for solution in found[spec])
            assert booked == engine.counters.sampled - before, f"{spec} books {booked} tokens"
        for _ in range(500):  # the engine reads what it is told in a thread of its own
            if engine.rows_in_use:
                await asyncio.sleep(0.01)
        assert engine.rows_in_use == 0
    return found


def test_every_rule_runs_on_the_pocket_model_and_keeps_its_books() -> None:
    rules = [
        name for name, rule in FAMILY.methods.items() if Need.BUDGET not in rule.card.needs and name not in LEARNED
    ]
    found = asyncio.run(run([SPECS.get(name, name) for name in rules], 6))
    by_rule = {name: found[SPECS.get(name, name)] for name in rules}
    for name, solutions in by_rule.items():
        assert not [s.error for s in solutions if s.error], name
        assert all(s.text for s in solutions), f"{name} leaves problems without an answer"
    full = by_rule["full"]
    assert [s.spans for s in by_rule["loop-guard"]] == [s.spans for s in full], "no chain of these loops"
    for name in (
        "answer-consistency", "deepconf-line", "dynasor-cot", "end-mass", "entropy-settled", "eot-temperature",
        "fixed-budget", "no-wait", "nothinking",
    ):  # fmt: skip
        assert sum(s.ledger.kept for s in by_rule[name]) < sum(s.ledger.kept for s in full), name
    cues = ("Check", "Wait", "Hmm")
    assert not any(cue in s.thinking for s in by_rule["no-wait"] for cue in cues)
    assert any(cue in s.thinking for s in full for cue in cues)
    assert sum(len(s.thinking) for s in by_rule["s1-budget-forcing"]) > sum(len(s.thinking) for s in full)


def test_a_budget_of_the_servers_own_is_refused_where_there_is_none() -> None:
    from satisfice.engines.local.engine import LocalEngine

    with pytest.raises(Unfit, match="needs a thinking budget of its own, which the local engine does not provide"):
        check_fit([build("server-thinking-budget")], LocalEngine.name, LocalEngine.provides)
