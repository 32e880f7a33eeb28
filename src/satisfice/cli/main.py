"""The command line: reads what was typed, calls the library, prints what came back."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from satisfice.cli.calibrate import calibrate
from satisfice.cli.common import Config, err_console, load, out_console, print_json
from satisfice.cli.options import Json, Model, Policies, Tasks, names, options_of
from satisfice.cli.recommend import recommend
from satisfice.cli.record import export, record, replay
from satisfice.cli.serve import serve
from satisfice.cli.train import train
from satisfice.core.errors import MissingExtra, SatisficeError
from satisfice.measure.plan import Plan, make_plan

app = typer.Typer(
    help="Make reasoning models stop when they have thought enough, and measure it honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def main() -> None:
    """Run the command line: a mistake of the person's ends in one sentence and exit code 2, without a traceback."""
    try:
        app()
    except SatisficeError as error:
        err_console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        err_console.print("Stopped. What was finished is safe: the same command goes on from there.")
        sys.exit(130)


def _print_version(wanted: bool) -> None:
    if wanted:
        import satisfice

        print(f"satisfice {satisfice.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
@options_of(Plan, limit=200)
def bench(
    model: Model = "pocket",
    tasks: Tasks = "chain-sum:easy,chain-sum:hard",
    policies: Policies = "full,cap:96,first-cue,deer",
    out: Annotated[
        Path, typer.Option(help="Folder for the results; the same command goes on where it stopped.")
    ] = Path("runs/bench"),
    sampler: Annotated[
        str | None, typer.Option(help="Filters of the next token, such as min-p:0.1. Default: the model's own top-p.")
    ] = None,
    config: Config = None,
    **settings: Any,
) -> None:
    """Run policies on the same problems, and write samples, results, a report and the frontier."""
    from satisfice.cli.show import RunProgress, result_tables

    with err_console.status("Checking the policies and making the problems ..."):
        plan = make_plan(
            model=model, tasks=names(tasks), policies=policies, sampler=sampler, allow_files=True, **settings
        )
    engine = load(model)
    from satisfice.measure.run import run_bench
    from satisfice.report.page import draw

    with RunProgress(err_console, plan.size) as progress:
        results = asyncio.run(run_bench(plan, engine, out, listener=progress.listener, draw=draw))
    for table in result_tables(results["rows"]):
        out_console.print(table)
    for note in progress.notes:
        err_console.print(note, highlight=False, markup=False)
    written = [
        name for name in ("report.html", "frontier.png", "results.json", "samples.jsonl") if (out / name).exists()
    ]
    out_console.print(f"Written to {out}: {', '.join(written)}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def solve(
    question: Annotated[str | None, typer.Argument(help="What to solve. Left out: a problem of --task.")] = None,
    model: Model = "pocket",
    policy: Annotated[str, typer.Option(help="The rule that decides when it has thought enough.")] = "deer",
    task: Annotated[
        str, typer.Option(help="Where the problem comes from when no question is given.")
    ] = "chain-sum:hard",
    index: Annotated[int, typer.Option(help="Which problem of the task, from 0.", min=0)] = 0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    temperature: Annotated[float | None, typer.Option(help="Default: the model's own.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest chain, tokens. Default: the model's own.")] = None,
) -> None:
    """Solve one problem live: the thinking as it comes, where the rule looks, what it sees, when it stops."""
    from satisfice.catalog import build, check_fit
    from satisfice.cli.show import solve_live
    from satisfice.core.problem import Problem
    from satisfice.tasks import load_task

    rule = build(policy, allow_files=True)
    if question is not None:
        problem, verify = Problem(id="typed", task="typed", question=question, answer=""), None
    else:
        loaded = load_task(task, limit=index + 1)
        problem, verify = loaded.problems[-1], loaded.verify
    engine = load(model)
    check_fit([rule], engine.name, engine.provides)
    asyncio.run(
        solve_live(
            rule, engine, problem, out_console, seed=seed, temperature=temperature, max_tokens=max_tokens, verify=verify
        )
    )


@app.command()
def methods(as_json: Json = False) -> None:
    """List the rules and policies that there are."""
    from satisfice import catalog

    rows = catalog.methods()
    if as_json:
        print_json(rows)
        return
    for row in rows:
        fields = ", ".join(f"{f['name']}={f['default']}" for f in row["fields"])
        called = " or ".join([row["id"], *row["aliases"]])
        needs = ", ".join(row["needs"]) or "nothing special"
        out_console.print(f"[bold]{called}[/]  {escape(row['summary'])}", highlight=False, soft_wrap=True)
        out_console.print(f"    {escape(fields or 'no fields')}", highlight=False, soft_wrap=True)
        source = f"{row['paper']} {row['where']}".strip()
        out_console.print(
            f"    needs {needs}; {escape(source)} ({row['fidelity']})\n", highlight=False, style="dim", soft_wrap=True
        )


@app.command()
def doctor(
    model: Annotated[str | None, typer.Option(help="A server's address or a model to ask, too.")] = None,
    verl: Annotated[bool, typer.Option("--verl", help="Instead: what verl has loaded of satisfice.")] = False,
    as_json: Json = False,
) -> None:
    """Say what is installed, what each engine offers and whether the bundled model is there."""
    if verl:
        _doctor_verl(as_json)
        return
    from satisfice.cli.doctor import examine, profile_lines

    report = examine(model)
    if as_json:
        print_json(report)
        return
    out_console.print(
        f"satisfice {report['satisfice']}, Python {report['python']}, {report['platform']}", highlight=False
    )
    if not report["extras"]:
        out_console.print("It runs from a source tree that is not installed, so its extras are not known.")
    table = Table("extra", "package", "installed")
    for extra, packages in report["extras"].items():
        for package, version in packages.items():
            table.add_row(extra, package, version or f"[yellow]no: pip install 'satisfice\\[{extra}]'[/]")
    if report["extras"]:
        out_console.print(table)
    table = Table("engine", "ready", "offers")
    for name, engine in report["engines"].items():
        table.add_row(name, "yes" if engine["ready"] else escape(f"no: {engine['why']}"), ", ".join(engine["provides"]))
    out_console.print(table)
    kernel = report["kernel"]
    told = "yes" if kernel["ready"] else f"no, which makes them slower: {kernel['why']}"
    out_console.print(
        f"compiled kernel for small models on CPUs: {told}", highlight=False, markup=False, soft_wrap=True
    )
    pocket = report["pocket"]
    out_console.print(
        f"pocket model: {pocket['bytes'] / 1e6:.1f} MB" if pocket["weights"] else "pocket model: not there"
    )
    for name, value in report.get("model", {}).items():
        shown = ", ".join(value) if isinstance(value, list) else value
        out_console.print(f"{name}: {shown}", highlight=False, markup=False, soft_wrap=True)
    for line in profile_lines(report):
        out_console.print(line, highlight=False, markup=False, soft_wrap=True)


def _doctor_verl(as_json: bool) -> None:
    try:
        from satisfice.training.verl.doctor import examine, told
    except ModuleNotFoundError as error:
        if error.name in {"torch", "transformers"}:
            raise MissingExtra("training with verl", "verl") from error
        raise
    report = examine(ray=True)
    if as_json:
        print_json(report)
    else:
        for line in told(report):
            out_console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not report["well"]:
        raise typer.Exit(1)


@app.command()
def card(
    model: Annotated[str, typer.Argument(help="`pocket`, or a folder with a model.")] = "pocket",
    as_json: Json = False,
    tasks: Annotated[str | None, typer.Option(help="Tasks, easiest first. Default: the tiers of chain-sum.")] = None,
    limit: Annotated[int, typer.Option(help="Problems a tier.", min=1)] = 2000,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Measure what a model card says: does thinking pay, does reflection, how much is overthinking."""
    from satisfice.measure.card import TASKS, measure_card

    engine = load(model)
    measured = measure_card(engine, limit=limit, seed=seed, tasks=names(tasks) if tasks else TASKS)
    if as_json:
        print_json(measured)
        return
    table = Table("figure", "value")
    for name, value in measured.items():
        if not isinstance(value, dict | list):
            table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    out_console.print(table)


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Folder of a run.")],
    second: Annotated[Path, typer.Argument(help="Folder of another run, set against the first.")],
    margin: Annotated[float, typer.Option(help="Accuracy that may be lost, as a fraction.")] = 0.02,
    as_json: Json = False,
) -> None:
    """Set two runs side by side, paired on the same problems, seeds and policies."""
    from satisfice.cli.show import compare_table
    from satisfice.measure.compare import compare_runs

    compared = compare_runs(first, second, margin=margin)
    if as_json:
        print_json(compared)
    else:
        out_console.print(compare_table(compared["rows"]))


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Draw the report and the frontier of a run again."""
    from satisfice.measure.store import read_results, read_samples
    from satisfice.report.page import draw

    results = read_results(folder)
    draw(folder, results, read_samples(folder))
    out_console.print(f"Written to {folder}: report.html, frontier.png", highlight=False, markup=False)


app.command()(recommend)
app.command()(calibrate)
app.command()(record)
app.command()(serve)
app.command()(replay)
app.command()(export)
app.command()(train)
