"""Make the end of thinking likelier at every step, by one number."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session

Mode = Literal["add", "shifted-scale", "raw-scale"]


@dataclass(frozen=True, kw_only=True)
class EotTemperature:
    """Make the end of thinking likelier at every step: change the score of its token alone, and sample as usual.

        add:            z'_eot = z_eot + beta
        shifted-scale:  z'_eot = (z_eot - min z) / T + min z
        raw-scale:      z'_eot = z_eot / T

    Reconstructed: how the paper changes the score could not be established. Adding is the default, because it always
    works in the direction meant and is what servers call a logit bias; dividing a raw score makes the end *less*
    likely where that score is negative. Filters such as top-p come after the change. The first `min_tokens` tokens are
    sampled without it, so that a strong setting does not end the thinking before it begins. Where the end of thinking
    takes several tokens, its first is changed.
    """

    card: ClassVar = Card(
        id="eot-temperature",
        paper="arXiv:2505.07961",
        where="temperature scaling of the end-of-thinking token, from the abstract and a digest",
        needs=frozenset({Need.LOGITS}),
        fidelity="reconstructed",
        system="ts-tldr",
        ours=("beta", "mode", "scale", "min_tokens"),
    )

    beta: Annotated[float, Range(-100, 100)] = 2.0  # mode add: nats added to the score
    mode: Mode = "add"
    scale: Annotated[float, Range(0.01, 1)] = 0.5  # the other modes: T
    min_tokens: Annotated[int, Range(0)] = 8  # thinking tokens before which nothing is changed

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        end = session.engine.encode(session.engine.profile.think_close)[0]
        chain = session.chain()
        await chain.think(limit=self.min_tokens)
        if self.mode == "add":
            await chain.think(bias={end: self.beta})
        elif session.temperature > 0:
            await chain.think(sampler=EndScale(token=end, mode=self.mode, scale=self.scale))
        else:
            raise BadInput(
                f"eot-temperature: mode {self.mode} changes how tokens are drawn, and at temperature 0 none are. Use "
                "mode add, or a temperature above 0."
            )
        return await chain.finish()


@dataclass(frozen=True, kw_only=True)
class EndScale:
    """The two modes that divide, on scores `[rows, vocab]` of numpy or torch; see `EotTemperature`.

    It may come before or after the temperature: dividing all scores by the same number changes nothing about it.

    >>> import numpy as np
    >>> p = np.exp(EndScale(token=2, mode="raw-scale", scale=0.5)(np.array([[5.0, 4.0, 2.0]])))
    >>> round(float(p[0, 2] / p.sum()), 4)
    0.2119
    """

    token: int
    mode: Literal["shifted-scale", "raw-scale"]
    scale: float

    def __call__(self, logits: Any) -> Any:
        changed = logits * 1.0
        low = 0.0
        if self.mode == "shifted-scale":
            reachable = logits * 1.0
            reachable[reachable == float("-inf")] = float("inf")  # tokens that a filter has cut do not count
            low = reachable.min(-1)
            low = getattr(low, "values", low)  # torch gives the places too
        changed[..., self.token] = (logits[..., self.token] - low) / self.scale + low
        return changed
