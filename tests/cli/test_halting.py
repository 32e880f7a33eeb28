"""The commands `restart` and `tune`, and what `bench --until-decided` says before and after."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from satisfice.cli.main import app
from satisfice.cli.until_decided import tell_need, tell_used
from satisfice.core.errors import BadInput
from satisfice.measure.plan import BenchPlan, make_plan

NUMBERS = (
    "--right", "0.5", "--caught", "0.8", "--lost", "0.1", "--until-right", "100", "--until-wrong", "200",
    "--until-look", "50",
)  # fmt: skip


def test_restart_from_numbers() -> None:
    told = CliRunner().invoke(app, ["restart", *NUMBERS])
    assert told.exit_code == 0
    assert (
        "Give up attempts that look wrong: a right answer takes 194.4 with the predictor and 300 without" in told.output
    )
    row = json.loads(CliRunner().invoke(app, ["restart", *NUMBERS, "--json"]).output)
    assert row["pays"] is True
    assert row["dropping"] == pytest.approx(194.4444, abs=1e-4)
    never = CliRunner().invoke(app, ["restart", *NUMBERS[:2], "--caught", "0", *NUMBERS[4:]])
    assert "Do not give up attempts early" in never.output
    assert "It would not pay if none were." in never.output


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["restart"], "these numbers too: right, caught, lost, until-right, until-wrong, until-look"),
        (["restart", "x", "--right", "0.5"], "not both"),
        (["restart", "x", "--cue", "1"], "Give both, or neither"),
    ],
)
def test_restart_says_what_is_missing(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, BadInput)
    assert says in str(result.exception)


@pytest.fixture
def plan(tmp_path: Path) -> BenchPlan:
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(f'{{"question": "1+{i}", "answer": "{i + 1}"}}\n' for i in range(120)), "utf-8")
    return make_plan(model="pocket", tasks=[str(file)], policies="full,first-cue", limit=None, until_decided=True)


def test_how_many_problems_are_needed_is_said_before_and_used_after(
    plan: BenchPlan, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_need(plan)
    told = capsys.readouterr().err.replace("\n", " ")
    assert "excluded after about 248 problems where no answer changes, 668 where 2%" in told
    assert "With 120 problems no rule can be shown to lose at most 2.0%. Raise --limit." in told
    rows = [
        {"is_baseline": True, "policy": "full", "task": plan.tasks[0].name, "verdict": "baseline", "problems": 60},
        {"is_baseline": False, "policy": "first-cue", "task": plan.tasks[0].name, "verdict": "worse", "problems": 60},
    ]
    tell_used(plan, {"rows": rows})
    told = capsys.readouterr().err.replace("\n", " ")
    assert "worse after 60 problems." in told
    assert "60 of 120 problems were needed: 50% saved." in told
