"""The command line: reads what was typed, calls the library, prints what came back."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from satisfice.cli import complete
from satisfice.cli.calibrate import calibrate
from satisfice.cli.common import (
    Config,
    err_console,
    exit_on_failures,
    load,
    out_console,
    print_json,
    quiet_libraries,
    resumable,
)
from satisfice.cli.merge import merge
from satisfice.cli.methods import methods
from satisfice.cli.options import MODEL, POLICIES, Json, Model, Tasks, names, options_of, with_preset
from satisfice.cli.recommend import recommend
from satisfice.cli.record import export, record, replay
from satisfice.cli.restart import restart
from satisfice.cli.serve import serve
from satisfice.cli.shorten import shorten
from satisfice.cli.train import train
from satisfice.cli.tune import tune
from satisfice.cli.until_decided import tell_need, tell_used
from satisfice.core.errors import BadInput, MissingExtra, SatisficeError
from satisfice.measure.plan import BenchPlan, make_plan
from satisfice.tasks.load import MOST

app = typer.Typer(
    help="Make reasoning models stop when they have thought enough, and measure it honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line: a mistake of the person's ends in one sentence and exit code 2, without a traceback."""
    quiet_libraries()
    try:
        app()
    except SatisficeError as error:
        err_console.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)


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
@resumable
@options_of(BenchPlan, limit=200)
def bench(
    model: Model = "pocket",
    tasks: Tasks = "chain-sum:easy,chain-sum:hard",
    policies: Annotated[
        str | None,
        typer.Option(
            help=f"{POLICIES} Default: full, cap:96, first-cue and deer, as a study recommends it for the model.",
            autocompletion=complete.methods_of("policy", several=True),
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder for the results; the same command goes on where it stopped.")
    ] = Path("runs/bench"),
    sampler: Annotated[
        str | None, typer.Option(help="Filters of the next token, such as min-p:0.1. Default: the model's own top-p.")
    ] = None,
    config: Config = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Run policies on the same problems, and write samples, results, a report and the frontier."""
    from satisfice.cli.progress import RunProgress
    from satisfice.cli.show import result_tables
    from satisfice.measure.subject import BASELINE

    policies = policies or f"full,cap:96,first-cue,{with_preset('deer', model)}"
    with err_console.status("Checking the policies and making the problems ..."):
        plan = make_plan(
            model=model, tasks=names(tasks), policies=policies, sampler=sampler, allow_files=True, **settings
        )
    if BASELINE not in plan.policies:
        err_console.print(
            f"[yellow]No policy is {BASELINE}, so there will be no savings and no verdicts: "
            f"there is nothing to compare with. Put {BASELINE} among --policies.[/]",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if plan.until_decided:
        tell_need(plan)
    engines = {name: load(name) for name in plan.models}
    from satisfice.measure.run import run_bench
    from satisfice.report.page import draw

    with RunProgress(err_console, plan.size, typed=plan.typed) as progress:
        results = asyncio.run(run_bench(plan, engines, out, listener=progress.listener, draw=draw))
    for note in progress.notes:
        err_console.print(note, highlight=False, markup=False)
    if plan.until_decided:
        tell_used(plan, results)
    if as_json:
        print_json(results)
    else:
        for table in result_tables(results):
            out_console.print(table)
        files = ("report.html", "frontier.png", "results.json", "samples.jsonl")
        written = ", ".join(name for name in files if (out / name).exists())
        out_console.print(f"Written to {out}: {written}", highlight=False, markup=False, soft_wrap=True)
    exit_on_failures(results)


@app.command()
def solve(
    question: Annotated[str | None, typer.Argument(help="What to solve. Left out: a problem of --task.")] = None,
    model: Model = "pocket",
    policy: Annotated[
        str | None,
        typer.Option(
            help="The rule that decides when it has thought enough. Default: deer, as a study recommends it for the "
            "model, such as deer@pocket.",
            autocompletion=complete.methods_of("policy"),
        ),
    ] = None,
    task: Annotated[
        str,
        typer.Option(help="Where the problem comes from when no question is given.", autocompletion=complete.tasks),
    ] = "chain-sum:hard",
    index: Annotated[int, typer.Option(help="Which problem of the task, from 0.", min=0, max=MOST - 1)] = 0,
    seed: Annotated[int, typer.Option(help="Of the chain.", min=0)] = 0,
    temperature: Annotated[float | None, typer.Option(help="Default: the model's own.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest chain, tokens. Default: the model's own.")] = None,
    as_json: Json = False,
) -> None:
    """Solve one problem live: the thinking as it comes, where the rule looks, what it sees, when it stops."""
    from satisfice.catalog import build, check_fit
    from satisfice.cli.show import solution_row, solve_live
    from satisfice.core.problem import Problem
    from satisfice.tasks import load_task

    policy = policy or with_preset("deer", model)
    rule = build(policy, allow_files=True)
    if question is not None:
        problem, verify = Problem(id="typed", task="typed", question=question, answer=""), None
    else:
        with err_console.status("Making the problem ..."):
            loaded = load_task(task, limit=index + 1)
        if len(loaded.problems) <= index:
            raise BadInput(f"index is {index}, and {task} has {len(loaded.problems)} problems, counted from 0.")
        problem, verify = loaded.problems[-1], loaded.verify
    engine = load(model)
    check_fit([rule], engine.name, engine.provides)
    shown = Console(quiet=True) if as_json else out_console
    solution = asyncio.run(
        solve_live(
            rule,
            engine,
            problem,
            shown,
            seed=seed,
            temperature=temperature,
            max_tokens=max_tokens,
            verify=verify,
            name=policy,
        )
    )
    if as_json:
        print_json(solution_row(solution, problem, engine.profile.answer_form, verify))


@app.command()
def doctor(
    model: Annotated[
        str | None,
        typer.Option(help=f"A model to look at, too: {MODEL}", autocompletion=complete.models),
    ] = None,
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
    model: Annotated[str, typer.Argument(help=MODEL, autocompletion=complete.models)] = "pocket",
    as_json: Json = False,
    tasks: Annotated[str | None, typer.Option(help="Tasks, easiest first. Default: the tiers of chain-sum.")] = None,
    limit: Annotated[int, typer.Option(help="Problems per tier.", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="Of the chains.", min=0)] = 0,
) -> None:
    """Measure what a model card says: does thinking pay, does reflection, how much is overthinking."""
    from satisfice.cli.show import card_lines
    from satisfice.measure.card import TASKS, measure_card

    engine = load(model)
    measured = measure_card(engine, limit=limit, seed=seed, tasks=names(tasks) if tasks else TASKS)
    if as_json:
        print_json(measured)
        return
    for line in card_lines(measured):
        out_console.print(line, highlight=False, markup=False, soft_wrap=True)


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
        return
    out_console.print(compare_table(compared["rows"]))
    for note in compared["notes"]:
        out_console.print(note, highlight=False, markup=False, soft_wrap=True)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(help="Folder of a run, or several, such as its shards.")],
    out: Annotated[Path | None, typer.Option(help="New folder for several runs together.")] = None,
    as_json: Json = False,
) -> None:
    """Make results, report and frontier again from the samples; of several folders as of one run."""
    from satisfice.core.files import replace_file
    from satisfice.measure.merge import read_runs, samples_of, write_merged
    from satisfice.report.page import draw

    if out is None and len(folders) > 1:
        raise BadInput("out: several folders together need a new one. Name it with --out.")
    target = folders[0] if out is None else out
    if out is None:
        results = read_runs(folders)
        replace_file(target / "results.json", json.dumps(results, indent=1) + "\n")
    else:
        results = write_merged(folders, out)
    draw(target, results, samples_of(folders))
    files = ("results.json", "report.html", "frontier.png")
    if as_json:
        print_json({"files": [str(target / name) for name in files]})
    else:
        out_console.print(f"Written to {target}: {', '.join(files)}", highlight=False, markup=False, soft_wrap=True)
    exit_on_failures(results)


app.command()(methods)
app.command()(recommend)
app.command()(calibrate)
app.command()(record)
app.command()(serve)
app.command()(replay)
app.command()(restart)
app.command()(export)
app.command()(shorten)
app.command()(train)
app.command()(merge)
app.command()(tune)
