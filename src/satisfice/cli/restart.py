"""The command `restart`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from satisfice.cli.common import out_console, print_json
from satisfice.cli.options import Json
from satisfice.core.errors import BadInput

if TYPE_CHECKING:
    from satisfice.measure.restart import Advice, Predictor

_NUMBERS = ("right", "caught", "lost", "until_right", "until_wrong", "until_look")


def restart(
    recording: Annotated[
        Path | None, typer.Argument(help="Folder of a recording with trial answers at cues. Left out: the numbers.")
    ] = None,
    cue: Annotated[int | None, typer.Option(help="Look at this cue, from 1. Default: chosen.", min=1)] = None,
    below: Annotated[
        float | None, typer.Option(help="Give up below this confidence of the trial answer.", min=0, max=1)
    ] = None,
    again: Annotated[float, typer.Option(help="What beginning again costs, in tokens.", min=0)] = 0.0,
    right: Annotated[float | None, typer.Option(help="Share of attempts that end right.", min=0, max=1)] = None,
    caught: Annotated[float | None, typer.Option(help="Share of wrong attempts given up.", min=0, max=1)] = None,
    lost: Annotated[float | None, typer.Option(help="Share of right attempts given up.", min=0, max=1)] = None,
    until_right: Annotated[float | None, typer.Option(help="Mean time of an attempt that ends right.", min=0)] = None,
    until_wrong: Annotated[float | None, typer.Option(help="Mean time of an attempt that ends wrong.", min=0)] = None,
    until_look: Annotated[float | None, typer.Option(help="Mean time to the predictor's look.", min=0)] = None,
    looking: Annotated[float, typer.Option(help="Mean time of the look itself.", min=0)] = 0.0,
    as_json: Json = False,
) -> None:
    """Say whether giving up an attempt that looks wrong, and starting another, pays at all.

    From a recording: a predictor (the confidence of a trial answer at a cue) is chosen on a third of the problems and
    judged on the others. From numbers: the rates of your own predictor and your own mean times.
    """
    given = dict(zip(_NUMBERS, (right, caught, lost, until_right, until_wrong, until_look), strict=True))
    if recording is None:
        _from_numbers(given, looking, again, as_json)
        return
    from satisfice.measure.restart import Predictor, advise_on
    from satisfice.recordings.recording import read_recording

    if any(value is not None for value in given.values()):
        raise BadInput("restart: give a recording or the numbers of a predictor, not both.")
    if (cue is None) != (below is None):
        raise BadInput("restart: cue and below make a predictor together. Give both, or neither to have one chosen.")
    own = None if cue is None or below is None else Predictor(cue=cue, below=below)
    predictor, advice = advise_on(read_recording(recording), own, restart=again)
    if as_json:
        print_json({**asdict(advice), "verdict": advice.verdict, "predictor": asdict(predictor)})
        return
    _show(predictor, advice)


def _from_numbers(given: dict[str, float | None], looking: float, again: float, as_json: bool) -> None:
    from satisfice.methods.halting.robot_restart import RobotRestart

    if missing := [name.replace("_", "-") for name, value in given.items() if value is None]:
        raise BadInput(f"restart: give a recording, or these numbers too: {', '.join(missing)}.")
    numbers: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    some = RobotRestart(**numbers, looking=looking, restart=again)
    told = {"waiting": some.waiting, "dropping": some.dropping, "affordable": some.affordable, "pays": some.pays}
    if as_json:
        print_json(told)
        return
    word = "Give up attempts that look wrong" if some.pays else "Do not give up attempts early"
    _line(f"{word}: a right answer takes {some.dropping:.4g} with the predictor and {some.waiting:.4g} without it.")
    line = f"Up to {some.affordable:.1%} would pay." if some.affordable > 0 else "It would not pay if none were."
    _line(f"Right attempts given up: {some.lost:.1%}. {line}")


def _show(predictor: "Predictor", advice: "Advice") -> None:
    some = advice.measured
    _line(f"Predictor: {predictor}.")
    _line(
        f"On {advice.chains} chains: {some.right:.1%} right; given up are {some.caught:.1%} of the wrong ones and "
        f"{some.lost:.1%} of the right ones, at token {some.until_look:.0f} of {some.until_right:.0f} (right) or "
        f"{some.until_wrong:.0f} (wrong); looking takes {some.looking:.1f} tokens."
    )
    _line(str(advice))


def _line(text: str) -> None:
    out_console.print(text, highlight=False, markup=False, soft_wrap=True)
