"""What the command line shows: result tables, one problem being solved."""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from satisfice.answers import extract_strict, same
from satisfice.answers.extract import AnswerForm
from satisfice.core.chain import Chain
from satisfice.core.engine import Engine
from satisfice.core.files import clean
from satisfice.core.problem import Problem, Verdict
from satisfice.core.session import Event, Policy, Session, Solution, solve
from satisfice.measure.subject import subject_of
from satisfice.report.words import labels_of

WATCH_S = 0.05  # between two looks at a chain that is growing


def result_tables(results: Mapping[str, Any]) -> Iterator[Table]:
    """Yield for each task a table of accuracy and spending of each subject next to no rule at all."""
    rows = results["rows"]
    shown = labels_of([subject_of(row) for row in rows], results["environment"].get("typed", {}))
    for task in dict.fromkeys(row["task"] for row in rows):
        here = [row for row in rows if row["task"] == task]
        table = Table("policy", "accuracy", "spent", "saving", "accuracy against full", "verdict")
        table.title = f"{escape(task)}, {here[0]['n']} problems"
        table.caption = (
            "spent: tokens per problem. Brackets: 95 % intervals. saves: at least "
            f"{100 * here[0]['least_saving']:g} % of the tokens are saved, and a loss of more than "
            f"{100 * here[0]['margin']:g} points is excluded."
        )
        for row in here:
            baseline = row["verdict"] == "baseline"
            table.add_row(
                escape(shown[subject_of(row)]), _percent(row["accuracy"]), _tokens(row["spent"]),
                "" if baseline else _with_interval(row, "saving", _percent),
                "" if baseline else _with_interval(row, "delta_accuracy", _points), _verdict(row["verdict"]),
            )  # fmt: skip
        yield table


def compare_table(rows: list[dict[str, Any]]) -> Table:
    """Return a table of the second run against the first."""
    table = Table("task", "policy", "n", "accuracy", "difference", "spent", "saving", "verdict")
    names = labels_of([subject_of(row) for row in rows])
    for row in rows:
        table.add_row(
            escape(row["task"]), escape(names[subject_of(row)]), str(row["n"]),
            f"{_percent(row['accuracy_first'])} → {_percent(row['accuracy_second'])}",
            _with_interval(row, "delta_accuracy", _points),
            f"{_tokens(row['spent_first'])} → {_tokens(row['spent_second'])}", _with_interval(row, "saving", _percent),
            _verdict(row["verdict"]),
        )  # fmt: skip
    table.caption = "first run → second run, on the problems and seeds that both have. Brackets: 95 % intervals."
    return table


def card_lines(measured: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a model card says, in words, with 95 % intervals over problems."""
    tasks = measured["tasks"]
    hard, easy = tasks[-1], tasks[0]

    def figure(name: str, form: Callable[[float | None], str]) -> str:
        low, high = measured.get(f"{name}_low"), measured.get(f"{name}_high")
        shown = form(measured[name])
        return shown if low is None or high is None else f"{shown} ({form(low)} to {form(high)})"

    yield f"{measured['n']} problems per task; in brackets 95 % intervals over problems."
    for task, tier in measured["tiers"].items():
        yield (
            f"{task}: right on {_percent(tier['accuracy'])} with {tier['thinking_tokens']:.0f} tokens of thinking; "
            f"on {_percent(tier['accuracy_nothinking'])} when it answers at once"
        )
    yield f"Does thinking pay? {figure('thinking_gain', _points)} points of accuracy over answering at once, on {hard}"
    yield (
        f"Does looking again pay? {figure('reflection_gain', _points)} points from the first stated answer to the "
        f"last, on {hard}"
    )
    yield (
        f"How much is overthinking? {figure('overthinking_share', _percent)} of the thinking comes after the first "
        f"right answer, on {easy}"
    )
    yield (
        f"Does its confidence mean something? It tells right from wrong with an AUROC of "
        f"{figure('confidence_auroc', _decimals)} at the first cue and "
        f"{figure('confidence_auroc_second_cue', _decimals)} "
        f"at the second (0.5 is chance), on {hard}"
    )
    tokens = measured["first_cue_tokens"]
    after = "" if tokens is None else f", after {tokens:.0f} tokens"
    yield f"How often does it pause at a cue? In {_percent(measured['first_cue_rate'])} of the chains{after}, on {hard}"
    yield f"Is it cut off? A token limit ended {_percent(measured['full_truncated_rate'])} of its chains, at the worst"
    yield (
        f"Is leaving it alone a fair baseline? {figure('full_minus_best_prefix', _points)} points against the best "
        f"answer forced at a fixed length, on {hard}"
    )
    yield "`--json` gives all figures and what exactly each one is."


def solution_row(
    solution: Solution,
    problem: Problem,
    form: AnswerForm,
    verify: Callable[[Problem, str], Verdict] | None,
) -> dict[str, Any]:
    """Return what became of one problem, for other programs."""
    answer = None if solution.error else extract_strict(solution.text, form)
    verdict = None if verify is None else (verify(problem, answer).value if answer else Verdict.WRONG.value)
    return {
        "question": problem.question, "answer": answer, "verdict": verdict,
        "reference": None if verify is None else problem.answer, "text": solution.text, "thinking": solution.thinking,
        "ended_by": solution.ended, "error": solution.error, "ledger": solution.ledger.as_row(),
        "looks": [
            {"chain": look.chain, "at": look.at, **clean(look.data)} for look in solution.log if look.kind == "look"
        ],
    }  # fmt: skip


async def solve_live(
    policy: Policy, engine: Engine, problem: Problem, console: Console, *, seed: int = 0,
    temperature: float | None = None, max_tokens: int | None = None,
    verify: Callable[[Problem, str], Verdict] | None = None, name: str = "",
) -> Solution:  # fmt: skip
    """Solve one problem and show it while it happens; `name` is what the policy is called, in place of its id."""
    watcher = _Watcher(console, longest_cue=max(map(len, engine.profile.cues), default=0))
    parse = functools.partial(extract_strict, form=engine.profile.answer_form)
    console.print(f"[bold]{escape(problem.question)}[/]\n", highlight=False, soft_wrap=True)
    async with engine:
        session = Session(
            engine, problem, seed=seed, temperature=temperature, chain_limit=max_tokens, parse=parse, same=same,
            observer=watcher.see,
        )  # fmt: skip
        watcher.session = session
        watching = asyncio.create_task(watcher.watch())
        solution = await solve(policy, session)
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    watcher.close(solution)
    if solution.error:
        console.print(f"\n[red]The policy failed:[/] {escape(solution.error)}", highlight=False, soft_wrap=True)
        return solution
    answer = parse(solution.text)
    said = ""
    if verify is not None:
        said = f"  ({verify(problem, answer).value if answer else 'wrong'}; the reference says {problem.answer})"
    shown = f"[bold]{escape(answer)}[/]" if answer else "[yellow]none[/]"
    console.print(f"\nanswer: {shown}{escape(said)}", highlight=False, soft_wrap=True)
    ended = {
        "model": "the model ended its thinking", "rule": f"{name or policy.card.id} ended the thinking",
        "limit": "a token limit ended the thinking", "turn": "the model ended its turn without an answer",
    }  # fmt: skip
    ledger = solution.ledger
    console.print(
        f"{ended.get(solution.ended, solution.ended)}. Spent {ledger.spent} tokens: {ledger.kept} kept, "
        f"{ledger.probe} on looks, {ledger.dropped} dropped. {ledger.injected} injected, {ledger.wall_s:.1f} s.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    return solution


class _Watcher:
    """Prints a single chain as it grows, or one line per chain when there are several."""

    def __init__(self, console: Console, *, longest_cue: int) -> None:
        self.session: Session | None = None
        self._console = console
        self._back = longest_cue + 4  # characters that a stop at a cue may still take back
        self._shown = 0

    def see(self, event: Event) -> None:
        """Called at every event of the session."""
        roots = self._roots()
        if event.kind == "look":
            self._flush(0)
            self._mark(event, several=len(roots) > 1)
        elif event.kind == "end" and len(roots) > 1 and "." not in event.chain:
            chain = next(chain for chain in roots if chain.name == event.chain)
            answer = chain.answer_text.strip() or "nothing"
            self._console.print(
                f"chain {chain.name}: {event.at} tokens, answers {answer}", markup=False, highlight=False
            )

    async def watch(self) -> None:
        """Show what is new until cancelled."""
        while True:
            await asyncio.sleep(WATCH_S)
            self._flush(self._back)

    def close(self, solution: Solution) -> None:
        """Show what is left of the thinking."""
        if len(self._roots()) > 1:
            self._console.print(f"\nreturned: chain {solution.chain}", highlight=False)
        self._print(solution.thinking[self._shown :])
        if not solution.thinking.endswith("\n"):
            self._print("\n")

    def _roots(self) -> list[Chain]:
        return [chain for chain in self.session.chains if "." not in chain.name] if self.session is not None else []

    def _flush(self, back: int) -> None:
        roots = self._roots()
        if len(roots) == 1:
            thinking = roots[0].thinking
            end = max(self._shown, len(thinking) - back)
            self._print(thinking[self._shown : end])
            self._shown = end

    def _mark(self, event: Event, *, several: bool) -> None:
        data = event.data
        line = "" if data.get("threshold") is None else f" (stops at {data['threshold']:g})"
        saw = f", trial answer {data['text'].strip()!r}" if data.get("text") else ""
        what = "[bold green]stops here[/]" if data["stop"] else "goes on"
        where = f"chain {event.chain}, " if several else ""
        self._console.print(
            f"[cyan]   ⌕ {where}token {event.at}: {escape(str(data['measure']))} {data['value']:.3g}{line}"
            f"{escape(saw)}: {what}[/]",
            highlight=False, soft_wrap=True,
        )  # fmt: skip

    def _print(self, text: str) -> None:
        self._console.print(text, end="", markup=False, highlight=False, soft_wrap=True, style="dim")


def _with_interval(row: dict[str, Any], name: str, form: Callable[[float | None], str]) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return form(row[name]) if low is None or high is None else escape(f"{form(row[name])} [{form(low)}, {form(high)}]")


def _tokens(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"


def _decimals(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _verdict(verdict: str) -> str:
    colour = {"saves": "green", "worse": "red", "error": "bold red", "baseline": "dim"}.get(verdict)
    return f"[{colour}]{verdict}[/]" if colour else verdict
