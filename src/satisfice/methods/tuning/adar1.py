"""Pairs that choose the long or the short model's style per problem, and the shorter chain within it."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.builder import Makes, Pair, whole
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.problem import Verdict
from satisfice.core.trace import SOURCES, Trace, by_problem
from satisfice.methods.tuning.candidates import draws


def gain(right_long: int, right_short: int, k: int, length_long: float, length_short: float) -> float:
    """Return what thinking long gains on a problem: above 0 the long style is chosen.

        g = acc_L - acc_S - 1 / (2K),   d = (len_L - len_S) / len_S,   gain = g / d if g > 0 else g d / 10

    K chains of each model, lengths in tokens. Where the long style is not longer, d says nothing: the sign is then
    that of the difference in accuracy, and the shorter style is chosen at equal accuracy.

    >>> round(gain(11, 5, 12, 6000, 900), 4), gain(12, 11, 12, 6000, 900) > 0, gain(10, 10, 12, 6000, 900) > 0
    (0.0809, True, False)
    """
    g = (right_long - right_short) / k - 1 / (2 * k)
    d = (length_long - length_short) / length_short
    if d <= 0:
        return (right_long - right_short) / k or 1 / (2 * k)
    return g / d if g > 0 else g * d / 10


@dataclass(frozen=True, kw_only=True)
class Adar1:
    """Prefer, per problem, the style of the long or of the short model, and within it the shorter right chain.

    `gain` chooses the style by how often each model is right. Pairs between styles: a right chain of the chosen style
    (any, if none is right) against a wrong one of the other (any, if none is wrong), `between` of all such. Pairs
    within the chosen style: its shortest right chain against its `within` longest right ones. Problems that neither
    model solves make none. The first recording is the long model's, the second the short one's.

    A chain that a limit cut is no answer of either style and is left out; the chosen chain is always right, since a
    style that is never right is not taught (the source takes it then).
    """

    card: ClassVar = Card(
        id="adar1",
        paper="arXiv:2504.21659",
        where="Sec. 4, bi-level preference pairs; the authors' script",
        needs=frozenset(),
        fidelity="second-hand",
        system="adar1",
        ours=("seed",),
        requires=frozenset({SOURCES}),
    )
    makes: ClassVar[Makes] = "pairs"
    constant: ClassVar = "that the chosen answer is right; within a style that both are"

    between: Annotated[int, Range(0)] = 4  # pairs per problem between the styles: M1
    within: Annotated[int, Range(0)] = 2  # pairs per problem within the chosen style: M2
    seed: Annotated[int, Range(0)] = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Pair]:
        some = [trace for trace in traces if trace.whole]
        return [pair for group in by_problem(some) for pair in self._pairs(group)]

    def _pairs(self, group: Sequence[Trace]) -> list[Pair]:
        first = min(trace.source for trace in group)
        styles = [
            [trace for trace in group if trace.source == first],
            [trace for trace in group if trace.source != first],
        ]
        if not all(styles) or not any(trace.right for trace in group):
            return []
        rates = [sum(trace.right for trace in style) / len(style) for style in styles]
        lengths = [sum(len(trace.ids) for trace in style) / len(style) for style in styles]
        k = min(map(len, styles))
        is_long = gain(round(rates[0] * k), round(rates[1] * k), k, *lengths) > 0
        chosen, other = styles if is_long else styles[::-1]
        right = sorted((trace for trace in chosen if trace.right), key=lambda trace: (len(trace.ids), trace.key))
        if not right:
            return []
        wrong = [trace for trace in other if trace.verdict is Verdict.WRONG] or other
        product = list(itertools.product(right, wrong))
        order = draws(self.seed, right[0]).permutation(len(product))[: self.between]
        pairs = [Pair(chosen=whole(product[i][0]), rejected=whole(product[i][1])) for i in order.tolist()]
        longer = [trace for trace in right[::-1] if len(trace.ids) > len(right[0].ids)][: self.within]
        return pairs + [Pair(chosen=whole(right[0]), rejected=whole(trace)) for trace in longer]
