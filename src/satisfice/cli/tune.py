"""The command `tune`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from satisfice.cli.common import err_console, out_console, print_json
from satisfice.cli.options import Json
from satisfice.core.errors import BadInput

if TYPE_CHECKING:
    from satisfice.recommend.tune import Tuned

NOTHING = 1  # exit code where nothing may be promised


def tune(
    rule: Annotated[str, typer.Argument(help="The rule whose settings are searched, such as deer.")],
    recording: Annotated[Path, typer.Option(help="Folder of a recording.")],
    trials: Annotated[int, typer.Option(help="Settings that are tried.", min=4)] = 40,
    price: Annotated[float, typer.Option(help="Chains of mean length that a lost answer is worth.", min=0)] = 10.0,
    max_loss: Annotated[float, typer.Option(help="Share of the problems of each task that may be lost.")] = 0.02,
    confidence: Annotated[float, typer.Option(help="That the promise holds.")] = 0.95,
    loss: Annotated[str, typer.Option(help="lost, net or changed, as for recommend.")] = "lost",
    seed: Annotated[int, typer.Option(help="Of the search.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Search the settings of one rule on recorded chains, and test the best on other problems.

    A search with Optuna: settings that are worse on the same problems are given up early. Each problem scores the
    tokens saved less a price where the answer is lost. Exits with 1 where nothing can be promised.
    """
    from satisfice.recommend.search import Goal
    from satisfice.recommend.tune import tune as search_rule
    from satisfice.recordings.recording import Recording

    if loss not in ("lost", "net", "changed"):
        raise BadInput(f"loss must be lost, net or changed, got {loss!r}.")
    goal = Goal(most=max_loss, doubt=1 - confidence, loss=loss)  # type: ignore[arg-type]
    found = search_rule(
        rule, Recording(recording), goal, trials=trials, price=price, seed=seed,
        told=lambda text: err_console.print(text, highlight=False, markup=False, soft_wrap=True),
    )  # fmt: skip
    if as_json:
        print_json(
            {
                "chosen": found.chosen, "score": found.searched.score, "problems": found.problems,
                "evaluations": found.searched.evaluations, "grid": len(found.space) * found.problems,
                "promised": found.choice.setting, "saving": found.choice.saving,
                "tested": [asdict(one) for one in found.choice.tested],
            }
        )  # fmt: skip
    else:
        _show(found, goal.most, confidence)
    if found.choice.setting is None:
        raise typer.Exit(NOTHING)


def _show(found: "Tuned", most: float, confidence: float) -> None:
    grid = len(found.space) * found.problems
    pruned = sum(trial.ended == "pruned" for trial in found.searched.trials)
    _line(f"Best of the search: {found.chosen}, score {found.searched.score:.3f} on {found.problems} problems.")
    _line(
        f"It took {found.searched.evaluations} evaluations, {found.searched.evaluations / grid:.0%} of the full grid's "
        f"{grid}; {pruned} settings were given up early."
    )
    if found.choice.setting is None:
        first = found.choice.tested[0]
        _line(
            f"Nothing can be promised: the safest setting, {first.setting}, may lose {first.bound:.1%}, and {most:.1%} "
            "was asked for."
        )
        return
    _line(
        f"Promise: {found.choice.setting} loses at most {most:.1%}, with confidence {confidence:.0%}, and saves "
        f"{found.choice.saving:.1%} of the tokens of problems that it was not chosen on."
    )


def _line(text: str) -> None:
    out_console.print(text, highlight=False, markup=False, soft_wrap=True)
