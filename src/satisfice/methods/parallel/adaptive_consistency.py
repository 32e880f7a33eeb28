"""Ask again only while the vote is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.answers.vote import tally
from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.engine import random_key
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import abreast, elect, follow, new_chain

Criterion = Literal["beta", "dirichlet", "entropy", "majority"]
LINES = {"beta": 0.95, "dirichlet": 0.95, "entropy": 0.75, "majority": 0.8}
_TOP, _DRAWS = 5, 10_000


@dataclass(frozen=True, kw_only=True)
class AdaptiveConsistency:
    """Ask one more time only while the leading answer could still lose the vote.

    With v1 >= v2 the counts of the two leading answers, stop asking once

        P = Pr[Beta(v1 + 1, v2 + 1) > 1/2] >= threshold

    and take the most frequent answer; four chains that agree are enough. Chains without an answer count towards `n` and
    not in the vote. Asking one at a time is slow, so chains may be asked in waves, and are tested after each.
    Reference code: https://github.com/Pranjal2041/AdaptiveConsistency (Apache-2.0), whose other criteria are here too:
    the same probability under a Dirichlet over the five leading answers (from 10,000 draws that are fixed by the counts
    alone), the entropy of the vote over its largest, and the leader's share; the last two need two different answers.
    """

    card: ClassVar = Card(
        id="adaptive-consistency",
        paper="arXiv:2305.11860",
        where="Sec. 3, the Beta stopping criterion",
        needs=frozenset(),
        fidelity="code",
        ours=("wave", "stop"),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 40  # chains at most
    threshold: Annotated[float | None, Range(0, 1)] = None  # none: 0.95, for entropy (at most) 0.75, for majority 0.8
    criterion: Criterion = "beta"  # when the vote is decided
    wave: Annotated[int, Range(1), Counts.CHAINS] = 1  # chains asked at once
    stop: Policy | None = None  # rule that each chain follows; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chains: list[Chain] = []
        while len(chains) < self.n:
            wave = [new_chain(session, after=chains) for _ in range(min(self.wave, self.n - len(chains)))]
            chains += await abreast(session, (follow(self.stop, session, chain) for chain in wave))
            answers = [session.parse(chain.answer_text) for chain in chains]
            counts = [len(group) for group in tally(answers, same=session.same)]
            if decided(counts, self.criterion, self.threshold):
                break
        return elect(session, chains)


def decided(counts: Sequence[int], criterion: Criterion = "beta", threshold: float | None = None) -> bool:
    """Whether the vote with these counts, one for each answer, needs no more chains.

    >>> decided([3]), decided([4]), decided([5, 1]), decided([6, 1])
    (False, True, False, True)
    """
    line = LINES[criterion] if threshold is None else threshold
    votes = sorted(counts, reverse=True)
    match criterion:
        case "beta":
            first, second, *_ = *votes, 0, 0
            return leads(first, second) >= line
        case "dirichlet":
            return _dirichlet(votes[:_TOP]) >= line
        case "entropy":
            share = np.array(votes) / sum(votes) if len(votes) > 1 else np.ones(1)
            return len(votes) > 1 and float(-(share * np.log(share)).sum() / np.log(len(votes))) <= line
        case "majority":
            return len(votes) > 1 and votes[0] / sum(votes) >= line


def leads(first: int, second: int) -> float:
    """Probability that an answer with `first` votes is more frequent than its rival with `second`.

    Pr[Beta(v1 + 1, v2 + 1) > 1/2] under a uniform prior.

    >>> [round(leads(*v), 4) for v in [(1, 0), (4, 0), (3, 1), (7, 2)]]
    [0.75, 0.9688, 0.8125, 0.9453]
    """
    from scipy.special import betainc

    return float(betainc(second + 1, first + 1, 0.5))


def _dirichlet(votes: Sequence[int]) -> float:
    if len(votes) < 2:  # against nothing that was seen: one rival without a vote
        return leads(votes[0], 0) if votes else 0.5
    draws = np.random.default_rng(random_key(*votes)).dirichlet(np.array(votes) + 1.0, _DRAWS)
    return float((draws.argmax(axis=1) == 0).mean())
