"""Answer several times without thinking, and let the answers vote by how sure the model was."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._confidence import Gauge
from satisfice.methods.parallel._inner import abreast, elect, follow


@dataclass(frozen=True, kw_only=True)
class NoThinkingVote:
    """Answer several times without thinking, and let the answers vote by how sure the model was.

    The n answers are ranked by the model's certainty, r = 1 the surest, and each gives its answer (n - r + 1)^p votes.
    An answer that cannot be read has a rank and no vote. The wait is that of the longest answer.

    Certainty is the mean over an answer's tokens of -(1/k) sum_j log p_(j) over the k likeliest tokens; with k the
    whole vocabulary that ranks as the paper's self-certainty does, which is this less log V. With `stop` chains think,
    under that rule, and the vote is the same.
    """

    card: ClassVar = Card(
        id="nothinking-vote",
        paper="arXiv:2504.09858",
        where="parallel scaling with confidence; the vote as in arXiv:2502.18581",
        needs=frozenset({Need.INJECT, Need.TOP_LOGPROBS}),
        fidelity="paper",
        system="nothinking",
        ours=("n", "top", "stop"),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 8  # answers
    p: Annotated[float, Range(0, 50)] = 0.5  # power of the rank; 0 is plain majority
    top: Annotated[int, Range(1), Counts.LIKELIEST] = 20  # likeliest tokens that certainty is taken over
    stop: Policy | None = None  # rule that each chain follows; none: it does not think

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        gauges: dict[Chain, Gauge] = {}

        async def answer(chain: Chain) -> Chain:
            gauge = Gauge(self.top)
            chain.tap(Signals(top_logprobs=self.top), gauge)
            if self.stop is None:
                chain = await chain.close_thinking(session.engine.profile.skip_thinking)
            else:
                chain = await follow(self.stop, session, chain)
            gauges[chain] = gauge
            return chain

        chains = await abreast(session, [answer(session.chain()) for _ in range(self.n)])
        return elect(session, chains, borda([gauges[chain].mean for chain in chains], self.p), "share of ranked votes")


def borda(certainty: Sequence[float], p: float = 0.5) -> list[float]:
    """Votes of each answer from its certainty: (n - r + 1)^p for the r-th surest; of equals the earlier is the surer.

    >>> [round(vote, 4) for vote in borda([4.0, 3.0, 2.0, 1.0])]
    [2.0, 1.7321, 1.4142, 1.0]
    """
    ranks = {i: r for r, i in enumerate(sorted(range(len(certainty)), key=lambda i: -certainty[i]))}
    return [float((len(certainty) - ranks[i]) ** p) for i in range(len(certainty))]


def self_certainty(logprobs: ArrayLike) -> float:
    """Mean over tokens of -(1/V) sum_j log(V p_j), from whole distributions `[n, V]` in nats.

    It is the divergence of the uniform distribution from the model's, 0 where all tokens are as likely.

    >>> round(self_certainty(np.log([[0.7, 0.2, 0.1], [0.9, 0.05, 0.05]])), 4)
    0.629
    """
    values = np.asarray(logprobs, dtype=np.float64)
    return float((-values.mean(axis=-1) - np.log(values.shape[-1])).mean())
