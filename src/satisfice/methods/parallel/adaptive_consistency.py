"""Ask again only while the vote is open."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.answers.vote import tally
from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import abreast, elect, follow, new_chain

Criterion = Literal["beta", "dirichlet", "entropy", "majority"]
LINES = {"beta": 0.95, "dirichlet": 0.95, "entropy": 0.75, "majority": 0.8}
_TOP = 5  # leading answers that the Dirichlet criterion looks at


@dataclass(frozen=True, kw_only=True)
class AdaptiveConsistency:
    """Ask one more time only while the leading answer could still lose the vote.

    With v1 >= v2 the counts of the two leading answers, stop asking once

        P = Pr[Beta(v1 + 1, v2 + 1) > 1/2] >= threshold

    and take the most frequent answer; four chains that agree are enough. Chains without an answer count towards `n` and
    not in the vote. Asking one at a time is slow, so chains may be asked in waves, and are tested after each.
    Reference code: https://github.com/Pranjal2041/AdaptiveConsistency (Apache-2.0), whose other criteria are here too,
    both from two votes on: the `entropy` of the vote over the largest it could have (a lone answer is held against a
    rival with one vote, so four that agree are enough), and the `majority`'s share of the votes. `dirichlet` is the
    probability that the leader is the most frequent of the five leading answers.

    Differs from the code: integrals are solved exactly, where the code draws at random for `dirichlet` (and misses by
    several points at large counts); answers that mean the same are one answer; the criterion that stops at random is
    left out. Decisions were held against the code's on 1,000 random votes for each of beta, entropy and majority, and
    on some 200 for dirichlet.
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
    """Return whether the vote with these counts, one for each answer, needs no more chains.

    >>> decided([3]), decided([4]), decided([5, 1]), decided([6, 1])
    (False, True, False, True)
    """
    line = LINES[criterion] if threshold is None else threshold
    votes = sorted(filter(None, counts), reverse=True)
    if not votes or (criterion in ("entropy", "majority") and sum(votes) < 2):
        return False
    match criterion:
        case "beta":
            return leads(votes[0], votes[1] if len(votes) > 1 else 0) >= line
        case "dirichlet":
            return leads_all(votes[:_TOP]) >= line
        case "entropy":
            return normalised_entropy(votes) <= line
        case "majority":
            return votes[0] / sum(votes) >= line


def normalised_entropy(votes: Sequence[int]) -> float:
    """Return the entropy of a vote over its largest possible one; a lone answer is held against one vote.

    >>> [round(normalised_entropy(v), 4) for v in ([2], [4], [1, 1], [9, 1])]
    [0.9183, 0.7219, 1.0, 0.469]
    """
    rivals = list(votes) if len(votes) > 1 else [*votes, 1]
    share = np.array(rivals) / sum(rivals)
    return float(-(share * np.log(share)).sum() / np.log(len(rivals)))


def leads(first: int, second: int) -> float:
    """Return the probability that an answer with `first` votes is more frequent than its rival with `second`.

    Pr[Beta(v1 + 1, v2 + 1) > 1/2] under a uniform prior.

    >>> [round(leads(*v), 4) for v in [(1, 0), (4, 0), (3, 1), (7, 2)]]
    [0.75, 0.9688, 0.8125, 0.9453]
    """
    from scipy.special import betainc

    return float(betainc(second + 1, first + 1, 0.5))


def leads_all(votes: Sequence[int]) -> float:
    """Return the probability that the first answer is the most frequent of all, under a uniform Dirichlet prior.

    Shares drawn from a Dirichlet are Gamma variables over their sum, so it is  int f(x; v1 + 1) prod_i F(x; vi + 1) dx.

    >>> round(leads_all([4]), 4), round(leads_all([3, 1]), 4), round(leads_all([12, 1, 1]), 4)
    (0.9688, 0.8125, 0.9982)
    """
    first, *others = votes
    if len(others) < 2:
        return leads(first, others[0] if others else 0)
    from scipy.integrate import quad
    from scipy.stats import gamma

    shapes = np.array(others) + 1

    def density(x: float) -> float:
        return float(gamma.pdf(x, first + 1) * gamma.cdf(x, shapes).prod())

    far = float(gamma.isf(1e-12, first + 1))
    return float(quad(density, 0.0, far, points=[first], epsabs=1e-10)[0])
