"""Answer each prompt at length and briefly, and prefer brief answers where they are right often enough."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import numpy as np

from satisfice.core.arrays import Array, constant, namespace
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range
from satisfice.core.loss_term import Added, PolicyLoss, Tokens
from satisfice.core.rollouts import Bools, Rollouts
from satisfice.core.session import Session
from satisfice.core.shaper import STATELESS, Loss, Pressure, Shaped, Shaper, State, check_advantage
from satisfice.core.steering import Right, Rolled
from satisfice.methods.shaping._columns import MODE
from satisfice.methods.shaping.grpo import Grpo

LONG, SHORT = "\n[Please answer with Long CoT]", "\n[Please answer with Short CoT]"


@dataclass(frozen=True, kw_only=True)
class ModeMargin:
    """Pull the choice of the mode, one token after the prompt, towards the wanted one, until it is ahead by a margin.

    The score of the brief mode's token stands against those of all other tokens together: their difference is the
    log-odds of the token. The column `wanted_mode` [b] is above 0 where thinking is wanted and below where brevity is;
    its size is the row's weight in the mean.
    """

    margin: float  # nats
    weight: float
    reads: ClassVar = frozenset({"brief", "wanted_mode"})

    def __call__(self, part: Tokens, policy: PolicyLoss) -> Added:
        xp, wanted = namespace(part.brief), part.columns["wanted_mode"]
        log_odds = part.brief - xp.log(-xp.expm1(xp.clip(part.brief, None, -1e-6)))
        hinge = (abs(wanted) * mode_hinge(-log_odds * xp.sign(wanted), 0.0, self.margin)).sum()
        return Added(total=self.weight * hinge, metrics={"mode_hinge": float(constant(hinge))})


@dataclass(frozen=True, kw_only=True)
class AdaptiveDeepReasoning:
    """Answer each prompt at length and briefly, and prefer brief answers where they are right often enough.

    Half of a group is made to think at length and half to be brief, and all are compared with one another:

        prefer brief where its share of right answers is at least theta, else long
        r_i = c_i (preferred if rollout i has that mode, else 1)

    A right answer in the other mode may so get a negative advantage: the modes compete. As reinforcement gives the one
    token that chooses the mode too little gradient, the loss adds, on the prompt alone,

        weight max(0, margin - (z_preferred - z_other))

    with z the score of the brief mode's first token and of all others together; prompts that neither mode solves are
    left out of it. `force=skip` makes a rollout brief by the profile's words that skip the thinking, `instruction` asks
    for either mode in the prompt, as the paper's data does.

    Established are the halves, the rewards 1.5 and 1.0 of an easy prompt, and the kind of loss. The rest is ours.
    """

    card: ClassVar = Card(
        id="adaptive-deep-reasoning",
        paper="arXiv:2505.20101",
        where="group-wise rewards, first-token loss",
        needs=frozenset({Need.INJECT}),
        fidelity="reconstructed",
        system="adaptive-deep-reasoning",
        requires=frozenset({MODE}),
        ours=("theta", "margin", "weight", "force", "advantage"),
    )
    pressure: ClassVar = Pressure(wrong=False, all_right=False)
    makes: ClassVar = frozenset({"mode"})

    theta: Annotated[float, Range(0, 1)] = 0.75  # share of right brief answers from which on brevity is preferred
    preferred: Annotated[float, Range(0)] = 1.5  # reward of a right answer in the preferred mode; 1 in the other
    margin: Annotated[float, Range(0)] = 1.0  # by which the preferred mode's score should be ahead, nats
    weight: Annotated[float, Range(0)] = 0.1  # of that loss; 0: none
    force: Literal["skip", "instruction"] = "skip"
    advantage: Shaper = Grpo()

    def __post_init__(self) -> None:
        check_advantage(self)

    @property
    def loss(self) -> Loss:
        inner = self.advantage.loss
        term = (ModeMargin(margin=self.margin, weight=self.weight),) if self.weight else ()
        return replace(inner, terms=(*inner.terms, *term))

    async def roll(self, session: Session, size: int, right: Right, state: State = STATELESS) -> list[Rolled]:
        """Half of the rollouts at length, the other half brief; of an odd number one more at length."""
        question, tasks = session.problem.question, []
        for place in range(size):
            brief = place >= size - size // 2
            chain = session.chain(question + (SHORT if brief else LONG) if self.force == "instruction" else None)
            if brief and self.force == "skip":
                chain.inject(session.engine.profile.skip_thinking)
            tasks.append(session.start(_ended(chain)))
        chains = [await task for task in tasks]
        return [
            Rolled(chain=chain, columns={"mode": float(place < size - size // 2)}) for place, chain in enumerate(chains)
        ]

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        long = rollouts["mode"] > 0
        prefer_long, solved = preference(rollouts, long, self.theta)
        reward = rollouts.reward * np.where(long == prefer_long, self.preferred, 1.0)
        shaped = self.advantage(rollouts.rewarded(reward))
        wanted = np.where(solved, np.where(prefer_long, 1.0, -1.0), 0.0)
        wanted /= max(np.count_nonzero(wanted), 1)  # the mean over the prompts' rows that want something
        return replace(shaped, columns={**shaped.columns, "wanted_mode": wanted}).noted(
            prefer_brief=float((~prefer_long).mean()),
            brief_right=_share(rollouts.correct, ~long),
            long_right=_share(rollouts.correct, long),
        )


async def _ended(chain: Chain) -> Chain:
    while await chain.think():
        pass
    return await chain.finish() if chain.ended != "limit" and chain.phase == "answer" else chain


def preference(rollouts: Rollouts, long: Bools, theta: float) -> tuple[Bools, Bools]:
    """Return for each rollout whether its prompt prefers length, and whether either mode solves it, [B] each."""
    brief_right = rollouts.groups.mean(rollouts.correct, ~long)
    return brief_right < theta, rollouts.groups.any(rollouts.correct)


def mode_hinge(preferred: Array, other: Array | float, margin: float = 1.0) -> Array:
    """Return how far the preferred mode's score falls short of being ahead by the margin; any shapes that go together.

    >>> mode_hinge(np.array([1.2, 1.5]), np.array([1.5, 0.1])).round(4)
    array([1.3, 0. ])
    """
    return namespace(preferred).clip(margin - (preferred - other), 0.0, None)


def _share(correct: Bools, rows: Bools) -> float:
    return float(correct[rows].mean()) if rows.any() else 0.0
