"""Prefer the chain that stopped once it was sure to the one that went on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.builder import Makes, Pair, whole
from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.trace import CERTAINTY, LOOKS, Trace
from satisfice.methods.tuning.concise_data import ConciseData


@dataclass(frozen=True, kw_only=True)
class ConcisePairs:
    """Prefer each chain as `concise-data` cuts it to the same chain as it was; made for SimPO.

    Both answers are right. Chains that are not cut make no pair.
    """

    card: ClassVar = Card(
        id="concise-pairs",
        paper="arXiv:2505.04881",
        where="preference pairs for SimPO, from a digest",
        needs=frozenset(),
        fidelity="reconstructed",
        system="concise-confidence",
        ours=("threshold",),
        requires=frozenset({LOOKS, CERTAINTY}),
    )
    makes: ClassVar[Makes] = "pairs"
    constant: ClassVar = "the chain up to the cut, and that the answer is right"

    threshold: Annotated[float, Range(0, 1)] = 0.95  # certainty of the trial answer; strict

    def __post_init__(self) -> None:
        check_fields(self)

    def __call__(self, traces: Sequence[Trace]) -> list[Pair]:
        rows = ConciseData(threshold=self.threshold)([trace for trace in traces if trace.right])
        return [Pair(chosen=row, rejected=whole(row.trace)) for row in rows if row.form != whole(row.trace).form]
