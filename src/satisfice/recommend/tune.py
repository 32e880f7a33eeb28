"""Search the settings of one rule on recorded chains, and certify what was chosen on other problems.

Optuna proposes settings (TPE) and its Wilcoxon pruner gives one up as soon as it is worse than the best so far on the
same problems: few settings are replayed on all of them. What is maximised is one number per problem,

    (full - spent) / mean(full) - price * lost

the tokens saved, in chains of mean length, less `price` of them where the full chain is right and the stopped one is
not. The chosen setting has no promise yet: it was chosen by its luck on these problems too. `recommend`'s procedure
tests it, and the safer settings beside it, on problems that had no part in the search.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from satisfice.catalog import METHODS, canonical
from satisfice.core.errors import BadInput, MissingExtra, NotRecorded
from satisfice.core.fields import field_types
from satisfice.core.problem import Problem
from satisfice.core.session import Policy
from satisfice.measure.promises import loss_floor
from satisfice.measure.replay import replay_plan
from satisfice.methods.stopping.full import Full
from satisfice.recommend.search import Choice, Goal, certify, classes_of, is_for_choosing
from satisfice.recommend.tables import Outcomes, Table, check_sizes, ladders_of, outcomes
from satisfice.recordings.recording import Recording

PRICE = 10.0  # chains of mean length that a lost answer is worth
BLOCK = 25  # problems between two looks at whether a setting is given up
P_VALUE = 0.1  # of the pruner

Setting = tuple[Any, ...]
"""A value for each field of a space, in its order."""

Evaluate = Callable[[Setting, NDArray[np.int64]], NDArray[np.float64]]
"""Scores of a setting on some problems, by their numbers."""

Ended = Literal["whole", "pruned", "known"]


@dataclass(frozen=True, kw_only=True)
class Space:
    """What may be tried of a rule: one field with values from safe to bold, and others with options."""

    rule: str
    field: str
    values: tuple[float, ...]  # the safest first
    options: Mapping[str, tuple[Any, ...]]  # of other fields

    def __len__(self) -> int:
        """Return how many settings there are: those of the full grid."""
        return len(self.values) * int(np.prod([len(some) for some in self.options.values()], dtype=np.int64))

    def __iter__(self) -> Iterator[Setting]:
        return itertools.product(self.values, *self.options.values())

    def policy(self, setting: Setting) -> Policy:
        """Return the rule with these settings."""
        made: Policy = METHODS[self.rule](**dict(zip((self.field, *self.options), setting, strict=True)))  # type: ignore[assignment]
        return made

    def up_to(self, setting: Setting) -> list[Setting]:
        """Return the settings that differ from this one by a safer value, the safest first, and this one last."""
        return [(value, *setting[1:]) for value in self.values[: self.values.index(setting[0]) + 1]]


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One setting that was tried."""

    setting: Setting
    score: float  # mean over the problems that it was tried on
    problems: int  # that it was tried on, now
    ended: Ended


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a search came to."""

    setting: Setting
    score: float
    trials: tuple[Trial, ...]

    @property
    def evaluations(self) -> int:
        """Return how many problems were replayed, over all settings."""
        return sum(trial.problems for trial in self.trials)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What tuning came to: the setting that scored best, and what of it may be promised."""

    space: Space
    searched: Searched
    chosen: str  # the policy with the setting that scored best
    problems: int  # it was chosen on
    choice: Choice  # what the other problems allow


def space_of(rule: str, recording: Recording) -> Space:
    """Return what may be tried of a rule on a recording: its ladders' values, what they fix, and its named choices.

    Raises:
        BadInput: no such rule, or one that declares nothing to try, or of which this recording can answer for nothing.
    """
    method = METHODS.get(rule)
    known = sorted(name for name, one in METHODS.items() if getattr(one, "ladders", ()))
    if method is None or rule not in known:
        raise BadInput(f"tune: {rule!r} declares no settings to try. Rules that do: {', '.join(known)}.")
    rungs = [one for one in ladders_of(recording) if one.policies[0].card.id == rule]
    if not rungs:
        raise BadInput(f"tune: {recording.folder} cannot answer for {rule}. Record what it asks, or tune another rule.")
    ladders = method.ladders  # type: ignore[attr-defined]
    field = rungs[0].name.rpartition(": ")[2]
    defaults, options = method(), dict[str, tuple[Any, ...]]()
    for ladder in ladders:
        for name, value in ladder.fixed.items():
            options[name] = tuple(dict.fromkeys([*options.get(name, (getattr(defaults, name),)), value]))
    options |= {name: takes.choices for name, takes in field_types(method).items() if takes.kind == "choice"}
    counted = {ladder.counts for ladder in ladders} - {"", field}
    options |= {name: (getattr(rungs[0].policies[0], name),) for name in counted}
    return Space(
        rule=rule, field=field, values=tuple(getattr(policy, field) for policy in rungs[0].policies), options=options
    )


def search(
    space: Space, evaluate: Evaluate, problems: int, *, trials: int = 40, seed: int = 0, most: int | None = None
) -> Searched:
    """Return the setting that scores best, out of at most `trials` proposals and about `most` evaluations.

    Each proposal meets the problems in the same random order. A setting that was tried before is not tried again.

    Raises:
        MissingExtra: Optuna is not installed.
    """
    optuna = _optuna()
    order = np.random.default_rng(seed).permutation(problems)
    done: dict[Setting, Trial] = {}
    log: list[Trial] = []

    def objective(trial: Any) -> float:
        at = trial.suggest_int(space.field, 0, len(space.values) - 1)
        chosen = [some[trial.suggest_categorical(name, list(range(len(some))))] for name, some in space.options.items()]
        setting = (space.values[at], *chosen)
        if setting in done:
            log.append(Trial(setting=setting, score=done[setting].score, problems=0, ended="known"))
            return done[setting].score
        scores: list[float] = []
        ended: Ended = "whole"
        for begin in range(0, problems, BLOCK):
            some = order[begin : begin + BLOCK]
            scores += (found := evaluate(setting, some)).tolist()
            for number, score in zip(some, found, strict=True):
                trial.report(float(score), int(number))
            if begin + BLOCK < problems and trial.should_prune():
                ended = "pruned"
                break
        done[setting] = Trial(setting=setting, score=float(np.mean(scores)), problems=len(scores), ended=ended)
        log.append(done[setting])
        if most is not None and sum(one.problems for one in log) + problems > most:
            trial.study.stop()
        return done[setting].score

    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=min(12, max(trials // 4, 4)), multivariate=True),
        pruner=optuna.pruners.WilcoxonPruner(p_threshold=P_VALUE, n_startup_steps=BLOCK),
    )
    study.optimize(objective, n_trials=trials)
    best = max((trial for trial in done.values() if trial.ended == "whole"), key=lambda trial: trial.score)
    return Searched(setting=best.setting, score=best.score, trials=tuple(log))


def score(
    right: Any, spent: Any, full_right: Any, full_spent: Any, *, price: float, mean: float
) -> NDArray[np.float64]:
    """Return the score of each problem: tokens saved, in chains of `mean` tokens, less `price` where it is lost.

    >>> score([True, False], [50, 20], [True, True], [100, 100], price=10, mean=100).tolist()
    [0.5, -9.2]
    """
    lost = np.asarray(full_right, dtype=bool) & ~np.asarray(right, dtype=bool)
    scores: NDArray[np.float64] = (np.asarray(full_spent) - np.asarray(spent)) / mean - price * lost
    return scores


def tune(
    rule: str, recording: Recording, goal: Goal, *, trials: int = 40, price: float = PRICE, seed: int = 0,
    told: Callable[[str], None] = lambda text: None,
) -> Tuned:  # fmt: skip
    """Search a rule's settings on a third of a recording's problems, and certify the best on the others.

    Raises:
        BadInput: a rule without settings to try, too few problems for the promise.
        MissingExtra: Optuna is not installed.
    """
    _optuna()
    space = space_of(rule, recording)
    plan = replay_plan(recording, "full")
    problems = [problem for task in plan.tasks for problem in task.problems]
    classes, of = classes_of([problem.task for problem in problems])
    choosing = np.array([is_for_choosing(problem.id) for problem in problems], dtype=bool)
    check_sizes(of[~choosing], classes, goal.needed)
    (full,) = asyncio.run(outcomes(recording, [Full()], problems))
    mine, reference = [p for p, yes in zip(problems, choosing, strict=True) if yes], full.part(choosing)
    mean = float(reference.spent.mean())

    def evaluate(setting: Setting, some: NDArray[np.int64]) -> NDArray[np.float64]:
        found = _replayed(recording, space.policy(setting), [mine[at] for at in some])
        there = reference.part(some)
        return score(found.right, found.spent, there.right, there.spent, price=price, mean=mean)

    told(f"Trying {trials} of {len(space)} settings of {rule} on {len(mine)} problems.")
    searched = search(space, evaluate, len(mine), trials=trials, seed=seed)
    chosen = space.policy(searched.setting)
    told(f"Testing {canonical(chosen)} and what is safer on {int((~choosing).sum())} other problems.")
    fresh = [p for p, yes in zip(problems, choosing, strict=True) if not yes]
    choice = certified(recording, space, searched.setting, fresh, full.part(~choosing), of[~choosing], goal)
    return Tuned(space=space, searched=searched, chosen=canonical(chosen), problems=len(mine), choice=choice)


def certified(
    recording: Recording, space: Space, setting: Setting, problems: Sequence[Problem], full: Outcomes, of: Any,
    goal: Goal,
) -> Choice:  # fmt: skip
    """Return what may be promised of a setting and the safer ones beside it, on problems it was not chosen on."""
    losses: list[NDArray[np.int8]] = []
    spent, settings = [], []
    for one in space.up_to(setting):
        found = _replayed(recording, space.policy(one), problems)
        settings.append(canonical(space.policy(one)))
        losses.append(found.losses(full, goal.loss))
        spent.append(found.spent)
        if loss_floor(losses[-1]) > goal.most:  # hopeless, and what comes after it is less safe
            break
    table = Table(losses=np.array(losses, dtype=np.int8), spent=np.array(spent), full=full.spent, classes=of)
    return certify(f"{space.rule}: {space.field}", settings, table, goal)


def _replayed(recording: Recording, policy: Policy, problems: Sequence[Problem]) -> Outcomes:
    try:
        (found,) = asyncio.run(outcomes(recording, [policy], problems))
    except NotRecorded as error:
        raise BadInput(f"tune: {error} Record what it asks for, or tune another rule.") from error
    return found


def _optuna() -> Any:
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise MissingExtra("tuning", "tune") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    import warnings

    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna
