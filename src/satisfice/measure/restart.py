"""Whether giving up chains early and starting others pays at all, from recorded chains.

A chain is an attempt that a verifier tells right from wrong at its end; a wrong one is followed by another. A predictor
looks at each attempt on the way and may end it. `methods.halting.RobotRestart` has the formula; here its numbers are
measured on recorded chains, a predictor is chosen on some of them, and the verdict on the others gets an interval.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.errors import BadInput
from satisfice.core.problem import Verdict
from satisfice.core.recorded import RecordedChain
from satisfice.methods.halting.robot_restart import RobotRestart
from satisfice.methods.stopping.deer import confidence

RESAMPLES = 2_000
LOOKS = 6  # cues at which a predictor may look, at most
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_WORST = -1e3  # of a saving: a sample in which every right chain is given up never ends

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Advice:
    """Whether to give up chains that look wrong.

    `saving` is the share of the time to a right answer that this saves, `low` to `high` its 95 % interval.
    """

    measured: RobotRestart
    saving: float
    low: float
    high: float
    chains: int = 0

    @property
    def verdict(self) -> Literal["drop", "wait", "undecided"]:
        """Return what the interval allows to say."""
        return "drop" if self.low > 0 else "wait" if self.high < 0 else "undecided"

    def __str__(self) -> str:
        word = {
            "drop": "Give up chains that look wrong",
            "wait": "Do not give up chains early",
            "undecided": "These chains do not show whether giving up early pays",
        }[self.verdict]
        lost, affordable = self.measured.lost, self.measured.affordable
        line = f"up to {affordable:.1%} would pay" if affordable > 0 else "and it would not pay if none were"
        return (
            f"{word}: the time to a right answer changes by {-self.saving:+.1%} ({-self.high:+.1%} to "
            f"{-self.low:+.1%}); {lost:.1%} of right chains would be given up, {line}."
        )


def times(right: Floats, flagged: Floats, length: Floats, spent: Floats, restart: float) -> tuple[Floats, Floats]:
    """Return the expected times to a right answer, waiting and dropping: columns `[..., n]` to `[...]`.

    `spent` is what an attempt takes under the predictor. By renewal both are the mean time of an attempt divided by the
    share that ends right and is not given up, and c (1 / share - 1) for beginning again. Where the times do not depend
    on the predictor's word this is the closed form of `RobotRestart`.
    """
    share, kept = right.mean(axis=-1), (right * (1 - flagged)).mean(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        waiting = length.mean(axis=-1) / share + restart * (1 / share - 1)
        dropping = spent.mean(axis=-1) / kept + restart * (1 / kept - 1)
    return waiting, dropping


def advise(
    right: ArrayLike, flagged: ArrayLike, length: ArrayLike, looked_at: ArrayLike, *,
    looking: ArrayLike = 0.0, restart: float = 0.0,
) -> Advice:  # fmt: skip
    """Return advice from recorded chains: for each whether it was right, whether the predictor said wrong, and times.

    All are `[n]`: `length` is the time to the chain's end, `looked_at` that to the predictor's look, `looking` what the
    look itself took (0 where the chain ended before it). The interval is a 95 % bootstrap over chains; chains of one
    problem are alike, so give one chain per problem, or expect it too narrow.

    It takes for granted that a wrong end is noticed (a verifier), and that a new attempt is as likely to be right.

    Raises:
        BadInput: lists of different lengths, or no right or no wrong chain among them.
    """
    from scipy.stats import bootstrap

    given = [np.asarray(column, dtype=np.float64) for column in (right, flagged, length, looked_at)]
    if any(column.ndim != 1 or len(column) != len(given[0]) for column in given) or len(given[0]) < 2:
        raise BadInput("advise: right, flagged, length and looked_at must be lists of one length, at least 2 chains.")
    good, said, ends, at = given
    look = np.broadcast_to(np.asarray(looking, dtype=np.float64), good.shape)
    if not 0 < good.sum() < len(good):
        raise BadInput("advise: there must be right chains and wrong ones among them, or there is nothing to predict.")
    spent = np.where(said > 0, at, ends) + look

    def saving(right: Floats, flagged: Floats, length: Floats, spent: Floats, axis: int = -1) -> Floats:
        waiting, dropping = times(right, flagged, length, spent, restart)
        return np.maximum(_WORST, np.nan_to_num(1 - dropping / waiting, nan=0.0, posinf=0.0, neginf=_WORST))

    columns = (good, said, ends, spent)
    found = bootstrap(
        columns, saving, paired=True, vectorized=True, n_resamples=RESAMPLES, method="percentile", axis=-1,
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    right_ones, looked = good > 0, said > 0
    measured = RobotRestart(
        right=float(good.mean()), caught=float(said[~right_ones].mean()), lost=float(said[right_ones].mean()),
        until_right=float(ends[right_ones].mean()), until_wrong=float(ends[~right_ones].mean()),
        until_look=float((at[looked] if looked.any() else at).mean()), looking=float(look.mean()), restart=restart,
    )  # fmt: skip
    return Advice(
        measured=measured, saving=float(saving(*columns)), low=float(found.low), high=float(found.high),
        chains=len(good),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """Say that a chain is going wrong when its trial answer at the n-th cue is not confident enough."""

    cue: int  # the n-th cue, from 1
    below: float  # mean probability of the trial answer's tokens

    def __str__(self) -> str:
        return f"at cue {self.cue}, confidence of the trial answer below {self.below:g}"


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What is needed of one recorded chain: how it ended, and what its trial answers looked like cue by cue."""

    problem: str
    right: bool
    length: int  # tokens
    at: tuple[int, ...]  # tokens before each cue
    confident: tuple[float, ...]  # of the trial answer at each cue
    looking: tuple[int, ...]  # tokens of the trial answer at each cue


def attempts_of(chains: Iterable[RecordedChain]) -> Iterator[Attempt]:
    """Yield the attempts of a recording whose verdict is known; their trial answers are those asked for at cues.

    Raises:
        BadInput: no chain has a trial answer with log-probabilities.
    """
    asked = False
    for chain in chains:
        if chain.verdict is Verdict.UNKNOWN:
            continue
        found = []
        for point in chain.checkpoints:
            trial = point.replies.get("trial")
            if "cue" in point.why and trial is not None and trial.tokens.logprobs is not None and len(trial.tokens):
                found.append((point.at, float(confidence(trial.tokens.logprobs)), len(trial.tokens)))
        asked = asked or bool(found)
        yield Attempt(
            problem=chain.problem.id, right=chain.verdict is Verdict.RIGHT, length=len(chain.tokens),
            at=tuple(at for at, _, _ in found), confident=tuple(c for _, c, _ in found),
            looking=tuple(n for _, _, n in found),
        )  # fmt: skip
    if not asked:
        raise BadInput(
            "this recording has no trial answers at cues. Record again with --at cue, from an engine with "
            "log-probabilities."
        )


def columns(attempts: Sequence[Attempt], predictor: Predictor) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Return right, flagged, length, time to the look and tokens of the look, `[n]` each, under a predictor."""
    n = predictor.cue - 1
    rows = []
    for one in attempts:
        there = len(one.at) > n
        flagged = there and one.confident[n] < predictor.below
        rows.append(
            (one.right, flagged, one.length, one.at[n] if there else one.length, one.looking[n] if there else 0)
        )
    right, said, length, at, look = np.array(rows, dtype=np.float64).T
    return right, said, length, at, look


def choose(attempts: Sequence[Attempt], *, restart: float = 0.0) -> Predictor:
    """Return the predictor that saves most time on these attempts: of `LOOKS` cues and `THRESHOLDS`."""
    seen = max((len(one.at) for one in attempts), default=0)
    grid = [Predictor(cue=cue, below=below) for cue in range(1, min(LOOKS, seen) + 1) for below in THRESHOLDS]

    def dropping(predictor: Predictor) -> float:
        right, said, length, at, look = columns(attempts, predictor)
        return float(times(right, said, length, np.where(said > 0, at, length) + look, restart)[1])

    return min(grid, key=dropping)


def for_choosing(problem: str) -> bool:
    """Return whether a problem is one of the third that a predictor is chosen on; by a hash of its id."""
    return zlib.crc32(f"restart {problem}".encode()) % 3 == 0


def advise_on(
    chains: Iterable[RecordedChain], predictor: Predictor | None = None, *, restart: float = 0.0
) -> tuple[Predictor, Advice]:
    """Return a predictor and advice on it: chosen on a third of the problems where none is given, judged on the rest.

    Of several chains of a problem the first counts.

    Raises:
        BadInput: no trial answers, or no right or no wrong chain to judge on.
    """
    first = {one.problem: one for one in reversed(list(attempts_of(chains)))}
    judged = list(first.values())
    if predictor is None:
        predictor = choose([one for one in judged if for_choosing(one.problem)], restart=restart)
        judged = [one for one in judged if not for_choosing(one.problem)]
    right, said, length, at, look = columns(judged, predictor)
    return predictor, advise(right, said, length, at, looking=look, restart=restart)
