"""What a model card says about a reasoning model, measured: does thinking pay, does it overthink, what is it sure of.

Every problem is solved once by one chain at the profile's temperature. On the way copies of it are asked for their
answer (greedily): after every `GRID` tokens of thinking, and at its first two cues with the confidence DEER would read.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score

from satisfice.answers.extract import extract_strict, read_trial
from satisfice.catalog import check_fit
from satisfice.core.chain import Chain
from satisfice.core.engine import Engine, Signals
from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem, Verdict
from satisfice.core.session import Session
from satisfice.measure.intervals import bootstrapped_ratio, bounded_mean
from satisfice.measure.samples import different
from satisfice.measure.trace import after_prompt, thinking_tokens, tokens_up_to
from satisfice.methods.stopping.deer import Deer, confidence
from satisfice.methods.stopping.trial import Trial, ask_trial
from satisfice.tasks import Task, load_task

TASKS = ("chain-sum:easy", "chain-sum:medium", "chain-sum:hard")
GRID = 32  # tokens of thinking between two forced answers
CUES = 2  # cues at which confidence is read
CONCURRENCY = 96  # problems at once
RESAMPLES = 2_000
SCHEMA_VERSION = 1

DEFINITIONS = {
    "thinking_gain": "accuracy with thinking minus accuracy of answering at once; last task",
    "reflection_gain": "final accuracy minus that of the first stated answer, where one was stated; last task",
    "overthinking_share": "share of a chain's thinking tokens that come after its first right stated answer, mean over "
    "the chains that state one; first task",
    "confidence_auroc": "how well confidence in the trial answer at the first cue tells right from wrong, over the "
    "chains that have one; last task. `confidence_auroc_second_cue` is the same at the second",
    "full_truncated_rate": "chains that a token limit ended; the worst of the tasks",
    "full_minus_best_prefix": f"final accuracy minus the best accuracy of forced answers at any fixed length (every "
    f"{GRID} tokens; chains that ended before it count with their final answer); last task",
}
"""What the figures mean. With the default tasks the first is the easy and the last the hard one."""

Values = NDArray[np.float64]  # one number per problem: 1 right, 0 wrong, nan unknown or not there


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One problem, read along its chain. Rightness is 1, 0, or nan when the verifier does not know."""

    final: float
    direct: float  # answering at once
    prefixes: tuple[float, ...]  # forced answers after 0, GRID, 2 GRID ... tokens, as long as thinking lasted
    cues: tuple[tuple[int, float, float], ...]  # tokens before the cue, confidence there, rightness of the trial answer
    first_stated: float  # nan: none
    after_first_right: float  # share of thinking tokens; nan: no right answer was stated
    thinking: int  # tokens
    truncated: bool


def measure_card(engine: Engine, limit: int = 2_000, seed: int = 0, tasks: Sequence[str] = TASKS) -> dict[str, Any]:
    """Measure the figures of a model card on `limit` held-out problems of each task; all rates are fractions.

    Of problems that ask the same question the first alone counts.

    `tasks` go from easy to hard; `seed` is that of the chains. `DEFINITIONS`, also in the result, says what is measured
    where. Intervals are 95 % intervals over problems: exact bounds for
    rates and their differences, a bootstrap for the rest.

    Raises:
        Unfit: the engine cannot fork chains or give log-probabilities.
        BadInput: an unknown task, or more problems than it has.
    """
    check_fit([Deer()], engine.name, engine.provides)
    if not tasks:
        raise BadInput("tasks: at least one is needed, easiest first.")
    loaded = [load_task(name, limit=limit) for name in tasks]
    loaded = [replace(task, problems=different(task.problems)) for task in loaded]
    readings = asyncio.run(_read_all(engine, loaded, seed))
    tiers = {task.name: _figures(found) for task, found in zip(loaded, readings, strict=True)}
    easy, hard = tiers[loaded[0].name], tiers[loaded[-1].name]
    figures = ("thinking_gain", "reflection_gain", "full_minus_best_prefix", "confidence_auroc_second_cue")
    ends = ("", "_low", "_high")
    return {
        "schema_version": SCHEMA_VERSION,
        "n": min(tier["n"] for tier in tiers.values()),
        "tasks": [task.name for task in loaded],
        "seed": seed,
        **{name + end: hard[name + end] for name in figures for end in ends},
        **{"confidence_auroc" + end: hard["confidence_auroc_first_cue" + end] for end in ends},
        **{"overthinking_share" + end: easy["overthinking_share" + end] for end in ends},
        "full_truncated_rate": max(tier["full_truncated_rate"] for tier in tiers.values()),
        "first_cue_rate": hard["first_cue_rate"],
        "first_cue_tokens": hard["first_cue_tokens"],
        "tiers": tiers,
        "definitions": DEFINITIONS,
        "engine": engine.describe(),
    }


async def read_problem(engine: Engine, problem: Problem, seed: int, verify: Callable[[str | None], float]) -> Reading:
    """Solve one problem with one chain and ask copies of it for their answer on the way."""
    profile = engine.profile
    prefixes: list[str | None] = []
    cues: list[tuple[int, float, float]] = []
    async with Session(engine, problem, seed=seed) as session:
        chain = session.chain()
        taken = 0  # tokens of thinking, those of a cue that it stands before included
        while chain.phase == "think":
            if taken % GRID == 0 and len(chain) == taken:  # not while it stands before a cue
                prefixes.append(read_trial((await ask_trial(chain, profile.trial_tokens)).text))
            looking = profile.cues if len(cues) < CUES else ()
            paused = await chain.think(until=looking, limit=GRID - taken % GRID)
            taken += 0 if chain.last is None else len(chain.last.ids)
            if paused and chain.last is not None and chain.last.reason == "text":
                trial = await ask_trial(chain, profile.trial_tokens, signals=Signals(logprobs=True))
                cues.append((len(chain), _sure(trial, chain), verify(read_trial(trial.text))))
                if taken % GRID == 0:
                    await chain.think(limit=0)  # takes the cue back, so that the next turn sees a point of the grid
        await chain.finish()
        direct = await session.chain().close_thinking(profile.skip_thinking)
    ids, text = after_prompt(chain.spans), chain.thinking
    thinking = thinking_tokens(chain.spans, text, engine.decode)
    found = list(profile.stated.finditer(text)) if profile.stated is not None else []
    right_at = next((match.end(1) for match in found if verify(match[1]) == 1), None)
    return Reading(
        final=verify(extract_strict(chain.answer_text, profile.answer_form)),
        direct=verify(extract_strict(direct.answer_text, profile.answer_form)),
        prefixes=tuple(verify(answer) for answer in prefixes),
        cues=tuple(cues),
        first_stated=verify(found[0][1]) if found else np.nan,
        after_first_right=np.nan
        if right_at is None
        else 1 - tokens_up_to(right_at, ids, engine.decode) / max(1, thinking),
        thinking=thinking,
        truncated=chain.ended == "limit",
    )


def _sure(trial: Trial, chain: Chain) -> float:
    """Return the confidence that DEER reads off a trial answer."""
    return confidence(trial.logprobs, skip=chain.session.engine.profile.answer_skip) if trial.closed else 0.0


async def _read_all(engine: Engine, tasks: Sequence[Task], seed: int) -> list[list[Reading]]:
    progress = Progress(console=Console(stderr=True), transient=True)
    async with engine:
        with progress:
            return [await _read_task(engine, task, seed, progress) for task in tasks]


async def _read_task(engine: Engine, task: Task, seed: int, progress: Progress) -> list[Reading]:
    bar = progress.add_task(task.name, total=len(task.problems))
    gate = asyncio.Semaphore(CONCURRENCY)

    async def read(problem: Problem) -> Reading:
        async with gate:
            reading = await read_problem(engine, problem, seed, _verifier(task, problem))
            progress.advance(bar)
            return reading

    return await _gather(read(problem) for problem in task.problems)


async def _gather(works: Iterable[Awaitable[Reading]]) -> list[Reading]:
    async def wait(work: Awaitable[Reading]) -> Reading:
        return await work

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait(work)) for work in works]
    return [task.result() for task in tasks]


def _verifier(task: Task, problem: Problem) -> Callable[[str | None], float]:
    known: dict[str, float] = {}

    def verify(answer: str | None) -> float:
        if answer is None:
            return 0.0
        if answer not in known:
            verdict = task.verify(problem, answer)
            known[answer] = np.nan if verdict is Verdict.UNKNOWN else float(verdict is Verdict.RIGHT)
        return known[answer]

    return verify


def _figures(readings: Sequence[Reading]) -> dict[str, Any]:
    """Return the figures of one task."""
    final, direct = (np.array([getattr(r, name) for r in readings]) for name in ("final", "direct"))
    stated = np.array([r.first_stated for r in readings])
    longest = max(len(r.prefixes) for r in readings)
    prefix = np.array([[*r.prefixes, *[r.final] * (longest - len(r.prefixes))] for r in readings])
    accuracy = np.nanmean(prefix, axis=0)
    best = int(np.argmax(accuracy))
    row: dict[str, Any] = {
        "n": len(readings),
        **_mean("accuracy", final),
        **_mean("accuracy_nothinking", direct),
        **_mean("accuracy_first_stated", stated),
        **_mean("thinking_gain", final - direct, least=-1),
        **_mean("reflection_gain", final - stated, least=-1),
        **_mean("overthinking_share", np.array([r.after_first_right for r in readings])),
        **_tokens("thinking_tokens", np.array([float(r.thinking) for r in readings])),
        "full_truncated_rate": float(np.mean([r.truncated for r in readings])),
        **_mean("full_minus_best_prefix", final - prefix[:, best], least=-1),
        "best_prefix_tokens": best * GRID,
        "accuracy_by_prefix": {str(i * GRID): float(value) for i, value in enumerate(accuracy)},
        "unknown_rate": float(np.mean(np.isnan(final))),
    }
    for number, name in enumerate(("first", "second")[:CUES]):
        seen = [r.cues[number] for r in readings if len(r.cues) > number]
        at, sure, right = np.array(seen, dtype=np.float64).reshape(-1, 3).T
        row[f"{name}_cue_rate"] = len(seen) / len(readings)
        row[f"{name}_cue_tokens"] = float(at.mean()) if seen else None
        row |= _mean(f"{name}_cue_accuracy", right)
        row |= _auroc(f"confidence_auroc_{name}_cue", sure, right)
    return row


def _mean(name: str, values: Values, *, least: float = 0.0) -> dict[str, float | None]:
    """Mean over the problems that have a value, from `least` to 1, with its interval."""
    values = values[~np.isnan(values)]
    found = bounded_mean(values, np.ones_like(values), least, 1.0)
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _tokens(name: str, values: Values) -> dict[str, float | None]:
    """Mean of a count of tokens, with its interval."""
    found = bootstrapped_ratio(values, np.ones_like(values))
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _auroc(name: str, sure: Values, right: Values) -> dict[str, float | None]:
    """Area under the ROC curve, with its interval; None when all are right or all wrong."""
    known = ~np.isnan(right)
    sure, right = sure[known], right[known]
    if min(right.sum(), (1 - right).sum()) < 2:
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"))

    def area(sure: Values, right: Values) -> float:
        return float(roc_auc_score(right, sure)) if 0 < right.sum() < right.size else np.nan

    drawn = bootstrap(
        (sure, right), area, paired=True, vectorized=False, n_resamples=RESAMPLES // 2, method="percentile",
        rng=np.random.default_rng(0),
    ).bootstrap_distribution  # fmt: skip
    low, high = np.nanpercentile(drawn, [2.5, 97.5])  # a resample with one class alone has no area
    return {name: area(sure, right), f"{name}_low": float(low), f"{name}_high": float(high)}
