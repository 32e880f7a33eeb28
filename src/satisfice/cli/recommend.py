"""The command `recommend`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from satisfice.cli.common import Config, err_console, load, out_console, print_json
from satisfice.cli.options import Json, Model, Tasks, names
from satisfice.core.errors import BadInput

if TYPE_CHECKING:
    from satisfice.core.engine import Engine
    from satisfice.recommend.found import Found

NOTHING = 1  # exit code where nothing may be switched on


def recommend(
    out: Annotated[Path, typer.Option(help="Folder for all of it; the same command goes on where it stopped.")],
    model: Model = "pocket",
    tasks: Tasks = "chain-sum:easy,chain-sum:hard",
    max_loss: Annotated[float, typer.Option(help="Share of the problems of each task that may be lost.")] = 0.02,
    at_least_accuracy: Annotated[
        float | None, typer.Option(help="In place of --max-loss: share of answers of each task that must be right.")
    ] = None,
    confidence: Annotated[float, typer.Option(help="That the promise holds.")] = 0.95,
    loss: Annotated[
        str,
        typer.Option(help="lost (right in full, wrong when stopped), net, or changed (no references needed)."),
    ] = "lost",
    limit: Annotated[int, typer.Option(help="Problems per task.", min=1)] = 900,
    split: Annotated[str | None, typer.Option(help="Which problems. Default: calibration; eval for a check.")] = None,
    price: Annotated[float | None, typer.Option(help="Money per million tokens, to show what recording costs.")] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Does the recommendation in the folder still hold? Other problems are answered."),
    ] = False,
    config: Config = None,
    as_json: Json = False,
) -> None:
    """Find the rule to switch on for a model and its problems, with a promise of how much it loses.

    Records the problems once, tries every rule and setting on the recording, and writes `serve.toml` for
    `satisfice serve --config`. Exits with 1 where nothing can be promised. With `--check` it says whether an earlier
    recommendation holds for this model and these problems, and exits with 1 where it does not, or nobody can say yet.
    """
    from satisfice.cli.progress import RunProgress
    from satisfice.recommend.recommend import recommend as recommend_all
    from satisfice.recommend.search import Goal
    from satisfice.report.page import draw
    from satisfice.tasks import SPLITS, load_task

    split = split or ("eval" if check else "calibration")
    if loss not in ("lost", "net", "changed"):
        raise BadInput(f"loss must be lost, net or changed, got {loss!r}.")
    if split not in SPLITS:
        raise BadInput(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    goal = Goal(most=max_loss, doubt=1 - confidence, loss=loss)  # type: ignore[arg-type]
    if at_least_accuracy is not None:
        if not 0 < at_least_accuracy < 1:
            raise BadInput(f"at-least-accuracy must lie between 0 and 1, got {at_least_accuracy}.")
        goal = Goal(most=round(1 - at_least_accuracy, 9), doubt=1 - confidence, loss="wrong")
    with err_console.status("Making the problems ..."):
        loaded = [load_task(_of_split(name, split), split, limit) for name in names(tasks)]
    engine = _engines(model, sum(len(task.problems) for task in loaded))

    if check:
        _check(out, model, loaded, engine, as_json=as_json)
        return

    def told(text: str) -> None:
        err_console.print(text, highlight=False, markup=False, soft_wrap=True)

    with RunProgress(err_console, sum(len(task.problems) for task in loaded), "recording") as progress:
        found = recommend_all(
            model, loaded, engine, out, goal, listener=progress.listener, told=told, price=price, draw=draw
        )
    if as_json:
        from dataclasses import asdict

        print_json(asdict(found) | {"reason": found.reason})
    else:
        _show(found, out)
    if found.choice.setting is None:
        raise typer.Exit(NOTHING)


def _of_split(name: str, split: str) -> str:
    """Return a task's name; a file that says nothing of splits is all of the one that is asked for."""
    from satisfice.tasks.jsonl import read_jsonl

    if not name.endswith(".jsonl") or any("split" in problem.metadata for problem in read_jsonl(name)):
        return name
    return f"{name}?split={split}"


def _check(out: Path, model: str, tasks: list[Any], engine: Any, *, as_json: bool) -> None:
    """Say whether a recommendation still holds; leave with 1 where it does not, or nobody can say yet."""
    from satisfice.cli.progress import RunProgress
    from satisfice.recommend.check import check
    from satisfice.report.page import draw

    with RunProgress(err_console, 2 * sum(len(task.problems) for task in tasks), "checking") as progress:
        found = check(out, model, tasks, engine, listener=progress.listener, draw=draw)
    if as_json:
        from dataclasses import asdict

        print_json(asdict(found))
    else:
        _line(str(found))
    if found.state != "holds":
        raise typer.Exit(NOTHING)


def _engines(model: str, problems: int) -> Any:
    """Return a function that makes an engine with room for the copies that a recording asks."""

    def make() -> "Engine":
        rows = min(6 * 48, 6 * problems)
        return load(model) if "://" in model else load(model, rows=rows, batch=min(rows, 96))

    return make


def _show(found: "Found", out: Path) -> None:
    """Print what was tried, and what may be switched on."""
    table = Table(title=f"{found.choice.ladder}, the safest setting first", title_justify="left")
    for name in ("setting", *(f"lost, {one}" for one in found.classes), "at most", ""):
        table.add_column(name)
    for one in found.choice.tested:
        lost = (f"{n} of {size}" for n, size in zip(one.lost, found.problems, strict=True))
        table.add_row(one.setting, *lost, f"{one.bound:.2%}", "kept" if one.passed else "may lose too much")
    out_console.print(table)
    if found.choice.setting is None:
        _line(f"Nothing can be promised ({found.goal}). {found.reason}")
        return
    each = ", ".join(f"{saved:.0%} on {name}" for saved, name in zip(found.savings, found.classes, strict=True))
    from satisfice.recommend.recommend import report_folder

    low, high = found.bounds
    _line(f"Switch on {found.choice.setting}.")
    _line(f"Promise: {found.goal}, on each of {', '.join(found.classes)} and fresh problems like these.")
    _line(f"It saves {found.choice.saving:.1%} of all tokens ({low:.1%} to {high:.1%}): {each}.")
    counts = zip(found.changed, found.problems, found.classes, strict=True)
    _line(f"It changes {', '.join(f'{n / size:.1%} of the answers on {name}' for n, size, name in counts)}.")
    if found.floor is not None:
        pairs = zip(found.floor.changed, found.floor.problems, found.classes, strict=True)
        told = ", ".join(f"{n / max(size, 1):.1%} on {name}" for n, size, name in pairs)
        _line(f"Two full answers of the model to one problem differ in {told}.")
    if found.why_not_second:
        _line(found.why_not_second)
    _line(f"Run it: satisfice serve --config {out / 'serve.toml'}")
    _line(f"Look at it: {out / report_folder(found.goal) / 'report.html'}")


def _line(text: str) -> None:
    out_console.print(text, highlight=False, markup=False, soft_wrap=True)
