"""What `bench --until-decided` says: how many problems it will need, and how many it did."""

from collections.abc import Mapping
from typing import Any

from satisfice.cli.common import err_console
from satisfice.measure.plan import BenchPlan

DIFFER = 0.02  # share of problems on which exactly one of two is right: what a mild rule of the pocket reasoner has


def tell_need(plan: BenchPlan) -> None:
    """Say about how many problems a verdict takes, before anything runs."""
    from satisfice.measure.sequential import problems_needed

    there = max(len(task.problems) for task in plan.tasks)
    same, some, half = (
        problems_needed(plan.margin, differ=differ, change=change)
        for differ, change in ((0.0, 0.0), (DIFFER, 0.0), (DIFFER, -plan.margin / 2))
    )
    _line(
        f"A loss of more than {plan.margin:.1%} is excluded after about {same} problems where no answer changes, "
        f"{some} where {DIFFER:.0%} of the answers change either way, {half} where {plan.margin / 2:.1%} are lost. "
        f"A rule that loses much more is found out sooner. There are up to {there} problems per task."
    )
    if there < same:
        _line(f"With {there} problems no rule can be shown to lose at most {plan.margin:.1%}. Raise --limit.")


def tell_used(plan: BenchPlan, results: Mapping[str, Any]) -> None:
    """Say how many problems each comparison took, and what share of all was saved."""
    there = {task.name: len(task.problems) for task in plan.tasks}
    used = whole = 0
    for row in results["rows"]:
        if not row["is_baseline"] and row["problems"]:
            used, whole = used + row["problems"], whole + there[row["task"]]
            _line(f"{row['policy']} on {row['task']}: {row['verdict']} after {row['problems']} problems.")
    if whole:
        _line(f"{used} of {whole} problems were needed: {1 - used / whole:.0%} saved.")


def _line(text: str) -> None:
    err_console.print(text, highlight=False, markup=False, soft_wrap=True)
