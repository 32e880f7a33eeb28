"""Charge every token, and let the price follow the accuracy."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card
from satisfice.core.fields import Range
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import STATELESS, Pressure, Shaped, Shaper, ShapesReward, State
from satisfice.methods.shaping.grpo import Grpo


@dataclass(frozen=True, kw_only=True)
class ADlp(ShapesReward):
    """Charge every token, and let the price follow the accuracy.

        r_i = c_i - lam_t L_i,    lam_{t+1} = max(0, lam_t + rate (accuracy_t - target))

    Right and wrong rollouts are charged alike, so in a group without a right one the shortest wins. A batch is shaped
    with the price from before it. `rate=0` is the static penalty, of which the paper reports collapse. State: lam.

    Since GRPO divides by the standard deviation, the size of lam does not matter in groups that are all right or all
    wrong: take `advantage=dr-grpo` where it should.

    Reference code: https://github.com/JinyanSu1/A-DLP; defaults of its script.
    """

    card: ClassVar = Card(
        id="a-dlp",
        paper="arXiv:2505.18298",
        where="adaptive direct length penalty",
        needs=frozenset(),
        fidelity="code",
        system="adaptive-length-penalty",
    )
    pressure: ClassVar = Pressure(wrong=True, all_right=True)

    price: Annotated[float, Range(0)] = 0.001  # lam_0: reward lost per token
    rate: Annotated[float, Range(0)] = 0.001  # eta: how fast the price follows
    target: Annotated[float, Range(0, 1)] = 0.62  # accuracy to hold: about that of the model before training
    advantage: Shaper = Grpo(aggregation="token")

    def init(self) -> State:
        return {"lam": self.price}

    def update(self, state: State, rollouts: Rollouts) -> State:
        return {"lam": max(0.0, state["lam"] + self.rate * (float(rollouts.correct.mean()) - self.target))}

    def __call__(self, rollouts: Rollouts, state: State = STATELESS) -> Shaped:
        lam = (state or self.init())["lam"]
        return self.advantage(rollouts.rewarded(rollouts.correct - lam * rollouts.length)).noted(lam=lam)
