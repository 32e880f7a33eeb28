"""Options that are made from a plan: every setting, with its range, its words and its default, in one place."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from satisfice.catalog import build
from satisfice.cli.main import app as whole
from satisfice.cli.options import options_of, with_preset
from satisfice.core.fields import Range
from satisfice.core.flags import Flag, settings
from satisfice.gateway.settings import Limits, Server, Settings
from satisfice.measure.plan import BenchPlan
from satisfice.recordings.record_plan import RecordPlan
from satisfice.training.plan import TrainPlan


@dataclass(frozen=True, kw_only=True)
class Plan:
    model: object
    steps: Annotated[int, Range(1), Flag("How many steps.")]
    share: Annotated[float | None, Range(0, 1), Flag("A share.")] = None
    loud: Annotated[bool, Flag("Say more.")] = False
    rate: Annotated[float, Range(0), Flag("A rate.")] = 0.5
    device: Annotated[Literal["cpu", "cuda"], Flag("Where.")] = "cpu"
    seeds: Annotated[tuple[int, ...], Range(0), Flag("Seeds.")] = (0,)
    at: Annotated[tuple[Literal["cue", "step"], ...], Flag("Where to look.")] = ("cue",)
    asks: Annotated[tuple[str, ...], Flag("Texts.", name="ask")] = ()


def command(**defaults: Any) -> tuple[typer.Typer, list[dict[str, Any]]]:
    app, given = typer.Typer(), []

    @app.command()
    @options_of(Plan, **defaults)
    def go(model: str = "pocket", **settings: Any) -> None:
        given.append({"model": model, **settings})

    return app, given


def typed(*words: str, **defaults: Any) -> dict[str, Any]:
    app, given = command(**defaults)
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == 0, done.output
    return given[0]


def test_defaults_are_the_plans() -> None:
    assert typed("--steps", "3") == {
        "model": "pocket", "steps": 3, "share": None, "loud": False, "rate": 0.5, "device": "cpu", "seeds": (0,),
        "at": ("cue",), "asks": (),
    }  # fmt: skip


def test_a_command_may_have_other_defaults() -> None:
    given = typed(steps=7, rate=None)
    assert (given["steps"], given["rate"]) == (7, None)
    with pytest.raises(TypeError, match="no settings"):
        options_of(Plan, stepps=7)


def test_what_is_typed_arrives_as_the_plan_takes_it() -> None:
    given = typed(
        "--steps", "3", "--share", "0.2", "--loud", "--device", "cuda", "--seeds", "0..2,9", "--at", "cue, step",
        "--ask", "So, 1", "--ask", "b", "--model", "m",
    )  # fmt: skip
    assert given == {
        "model": "m", "steps": 3, "share": 0.2, "loud": True, "rate": 0.5, "device": "cuda", "seeds": (0, 1, 2, 9),
        "at": ("cue", "step"), "asks": ("So, 1", "b"),
    }  # fmt: skip


@pytest.mark.parametrize("words", [("--steps", "0"), ("--share", "2", "--steps", "1"), (), ("--steps", "x")])
def test_ranges_are_the_plans(words: tuple[str, ...]) -> None:
    assert CliRunner().invoke(command()[0], list(words)).exit_code == 2


@pytest.mark.parametrize(
    ("name", "plan"),
    [
        ("bench", BenchPlan),
        ("record", RecordPlan),
        ("train", TrainPlan),
        ("serve", Server),
        ("serve", Settings),
        ("serve", Limits),
    ],
)
def test_every_setting_of_a_plan_is_an_option_of_its_command(name: str, plan: type) -> None:
    shown = " ".join(CliRunner().invoke(whole, [name, "--help"], env={"COLUMNS": "300"}).output.split())
    for setting in settings(plan):
        assert f"--{setting.name} " in shown
        assert setting.flag.help.split(":")[0] in shown


@pytest.mark.parametrize(
    ("model", "spec"),
    [
        ("pocket", "deer@pocket"), ("smollm2", "deer@smollm2"), ("vllm:smollm2+reasoning", "deer@smollm2"),
        ("pocket?dtype=float32", "deer@pocket"), ("pocket,pocket+mine", "deer@pocket"), ("pocket,smollm2", "deer"),
        ("http://localhost:8000", "deer"), ("models/r1", "deer"),
    ],
)  # fmt: skip
def test_a_model_has_the_settings_that_its_study_recommends(model: str, spec: str) -> None:
    assert with_preset("deer", model) == spec
    assert build(spec)
    assert with_preset("first-cue", model) == "first-cue", "a rule without presets stands as it is"
