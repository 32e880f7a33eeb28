"""A small run for the tests of the report: real policies over the scripted engine, as the bench records them."""

import asyncio
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from satisfice.catalog import canonical, parse_policies
from satisfice.core.problem import Problem, Verdict
from satisfice.engines.scripted import END, Script, ScriptedEngine
from satisfice.measure.plan import BenchJob, BenchPlan
from satisfice.measure.run import answer
from satisfice.measure.statistics import result_rows
from satisfice.tasks import Task

POLICIES = "full,cap:12,first-cue,deer,es-cot,self-consistency(n=3)"
HOSTILE = "</script><script>document.title='owned'</script><img src=http://evil.invalid/x onerror=alert(1)><!-- &amp; "


def think(problem: Problem, key: int) -> str:
    """A chain of thought with a first answer that may be wrong, some checks, and text from hell in one of them."""
    dice = random.Random(f"{problem.id}{key}")
    hard = "hard" in problem.task
    right = problem.answer
    wrong = str(int(right) + dice.randint(1, 9))
    says = wrong if dice.random() < (0.5 if hard else 0.15) else right
    lines = [f"{problem.question} = {says} so {says}"]
    for _ in range(dice.randint(1, 4)):
        if says == wrong and dice.random() < 0.7:
            says = right
        lines.append(f"Wait, once more, it is so {says}")
    if problem.id == "p3":
        lines.insert(1, HOSTILE)
    return "\n".join(lines) + f"</think>{says}"


def script_of(problem: Problem, seed: int) -> Script:
    def script(so_far: str, request: Any) -> str | tuple[str, float]:
        whole = think(problem, seed * 100 + request.key % 3)
        thought, closed, said = so_far.partition("</think>")
        if not closed:
            return whole[len(so_far) :] if whole.startswith(so_far) else f"so {problem.answer}</think>"
        stated = re.findall(r"so (-?\d+)", thought) or ["0"]
        sure = stated[-1] == problem.answer
        return (stated[-1][len(said) :] or END, -0.01 if sure else -0.4)

    return script


class Compare:
    """Judges by comparing text: what the test tasks need."""

    async def verdict(self, problem: Problem, answer: str | None) -> Verdict:
        return Verdict.RIGHT if answer == problem.answer else Verdict.WRONG


def run_all(limit: int = 10) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Real policies over the scripted engine, as the bench records them."""
    tasks = []
    for name in ("chain-sum:easy@1", "chain-sum:hard@1"):
        sums = [(f"p{i}", 10 + 7 * i, 3 + 5 * i) for i in range(limit)]
        problems = tuple(
            Problem(id=i, task=name, question=f"{a} + {b}" + (HOSTILE if i == "p3" else ""), answer=str(a + b))
            for i, a, b in sums
        )
        tasks.append(Task(name=name, split="eval", problems=problems, _score=lambda p, a: Verdict.UNKNOWN))
    policies = {canonical(policy): policy for policy in parse_policies(POLICIES)}
    plan = BenchPlan(models=("scripted",), tasks=tuple(tasks), policies=policies, seeds=(0, 1), limit=limit)

    async def work(job: BenchJob) -> dict[str, Any]:
        return await answer(job, plan, ScriptedEngine(script_of(job.problem, job.seed)), Compare())  # type: ignore[arg-type]

    async def everything() -> list[dict[str, Any]]:
        return [await work(job) for job in plan.jobs()]

    samples: list[dict[str, Any]] = json.loads(json.dumps(asyncio.run(everything())))
    rows = result_rows(samples, subjects=plan.subjects, tasks=[task.name for task in tasks])
    config = plan.config({"scripted": ScriptedEngine("")}) | {"note": HOSTILE}
    environment = {"cores": 2, "date": "2026-11-21"}
    return {"schema_version": 2, "config": config, "environment": environment, "rows": rows}, samples


Run = tuple[dict[str, Any], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def recorded() -> Run:
    return run_all()


@pytest.fixture(scope="session")
def page(recorded: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("altair", reason="the report extra is not installed")
    from satisfice.report.page import write_report

    folder = tmp_path_factory.mktemp("report")
    results, samples = recorded
    write_report(folder, results, iter(samples))
    return folder / "report.html"


@pytest.fixture(scope="session")
def hostile() -> str:
    return HOSTILE
