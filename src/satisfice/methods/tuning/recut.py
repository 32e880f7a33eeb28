"""Pairs for accuracy and pairs for length, from the right and the wrong chains of a problem."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from satisfice.core.builder import Makes, Pair, whole
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.problem import Verdict
from satisfice.core.trace import SEVERAL, Trace, by_problem
from satisfice.methods.tuning.candidates import draws


def reward(right: bool, characters: int, *, alpha: float = 1.0, beta: float = 1.0) -> float:
    """Return what a continuation is worth: the shorter right one wins, and of wrong ones the longer.

        r = (alpha I - beta (1 - I)) / L,   L in characters

    >>> [round(reward(right, n), 5) for right, n in ((True, 400), (True, 800), (False, 300), (False, 900))]
    [0.0025, 0.00125, -0.00333, -0.00111]
    """
    return (alpha * right - beta * (not right)) / max(1, characters)


@dataclass(frozen=True, kw_only=True)
class Recut:
    """Prefer the best chain of a problem to a longer right one (`aim=length`) or to a wrong one (`aim=accuracy`).

    The best is the right chain with the greatest reward 1/L, the shortest. The paper trains one model on each kind of
    pairs and merges the two (`dare` at density and weight 0.25). The chosen one is always right: the authors' script
    takes the shortest of a pool, which may be a wrong one of the pool of errors.

    The paper's chains are sampled step by step under a thorough and a concise prompt by turns; recorded chains are
    whole and from one prompt, so the pools are what sampling gave.
    """

    card: ClassVar = Card(
        id="recut",
        paper="arXiv:2506.10822",
        where="Sec. 3.2, preference pairs; the authors' script",
        needs=frozenset(),
        fidelity="second-hand",
        system="recut",
        ours=("aim", "seed"),
        requires=frozenset({SEVERAL}),
    )
    makes: ClassVar[Makes] = "pairs"
    constant: ClassVar = "that the chosen answer is right; of the rejected one with aim=length that it is right too"

    aim: Literal["length", "accuracy"] = "length"  # what the rejected chain is: longer, or wrong
    reject: Literal["random", "longest"] = "random"  # which of these, where there are several
    seed: Annotated[int, Range(0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Pair]:
        pairs = []
        for group in by_problem(traces):
            right = [trace for trace in group if trace.right]
            if not right:
                continue
            best = max(right, key=lambda trace: (reward(True, len(trace.text())), -len(trace.ids)))
            if self.aim == "length":
                pool = [trace for trace in right if len(trace.text()) > len(best.text())]
            else:
                pool = [trace for trace in group if trace.whole and trace.verdict is Verdict.WRONG]
            if pool:
                longest = max(pool, key=lambda trace: len(trace.ids))
                drawn = pool[int(draws(self.seed, best).integers(len(pool)))]
                pairs.append(Pair(chosen=whole(best), rejected=whole(longest if self.reject == "longest" else drawn)))
        return pairs
