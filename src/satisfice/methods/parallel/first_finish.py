"""Start several chains and take the first that finishes."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.answers.vote import majority
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.errors import BadInput
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import follow


@dataclass(frozen=True, kw_only=True)
class FirstFinish:
    """Start several chains, take the first that finishes, cancel the rest.

    Where right chains tend to be shorter than wrong ones, the shortest of n is right more often than one drawn at
    random, and the wait is that of the shortest. With `k` above 1 the answer is the majority among the k chains that
    finish first.

    "First" is counted in decode steps, not on the clock, and a tie goes to the lower chain number, so a race ends the
    same way whatever else the machine is doing. A chain that finishes without an answer that parses does not win: the
    next one is waited for. (That filter is ours; so is the tie.)
    """

    card: ClassVar = Card(
        id="first-finish",
        paper="arXiv:2505.18149",
        where="First Finish Search, from a digest of the paper",
        needs=frozenset({Need.ABORT}),
        fidelity="second-hand",
        system="ffs",
        ours=("n", "stop"),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 8  # chains
    k: Annotated[int, Range(1), Counts.CHAINS] = 1  # of which the first k to finish vote
    stop: Policy | None = None  # rule that each chain follows; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)
        if self.k > self.n:
            raise BadInput(f"first-finish: k must be at most n, got k={self.k}, n={self.n}. Lower k or raise n.")

    async def __call__(self, session: Session) -> Chain:
        finished: list[Chain] = []
        valid: list[Chain] = []
        async with session.race([follow(self.stop, session) for _ in range(self.n)]) as race:
            async for chain in race:
                finished.append(chain)
                if session.parse(chain.answer_text) is not None:
                    valid.append(chain)
                if len(valid) == self.k:
                    break
        vote = majority([session.parse(chain.answer_text) for chain in valid], same=session.same)
        winner = valid[vote.voters[0]] if vote.voters else finished[0]
        winner.look("finished", len(finished), threshold=self.k, stop=True, text=vote.answer or "")
        return winner


def right_given_length(length: float, *, right: tuple[float, float], wrong: tuple[float, float], prior: float) -> float:
    """Probability that a chain of this length is right: why the first to finish is a good one to take.

    P(right | l) = prior N(l; right) / (prior N(l; right) + (1 - prior) N(l; wrong)), with `right` and `wrong` the mean
    and standard deviation of the two kinds' lengths, in tokens.

    >>> round(right_given_length(6000, right=(8000, 2000), wrong=(14000, 4000), prior=0.6), 4)
    0.9308
    """
    from scipy.stats import norm

    good = prior * norm.pdf(length, *right)
    return float(good / (good + (1 - prior) * norm.pdf(length, *wrong)))
