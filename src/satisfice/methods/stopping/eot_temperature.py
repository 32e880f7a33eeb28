"""Make the end of thinking likelier at every step, by one number."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.core.stepping import Hold, Move, Place, Rows, Vocabulary
from satisfice.methods.stopping.stepwise import follow

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

    at: ClassVar[Place] = "token"
    line: ClassVar = None
    measure: ClassVar = "thinking tokens"

    beta: Annotated[float, Range(-100, 100)] = 2.0  # mode add: nats added to the score
    mode: Mode = "add"
    scale: Annotated[float, Range(0.01, 1)] = 0.5  # the other modes: T
    min_tokens: Annotated[int, Range(0)] = 8  # thinking tokens before which nothing is changed

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        if self.mode != "add" and session.temperature <= 0:
            raise BadInput(
                f"eot-temperature: mode {self.mode} changes how tokens are drawn, and at temperature 0 none are. Use "
                "mode add, or a temperature above 0."
            )
        return await follow(self, session)

    def step(self, rows: Rows) -> Move:
        """Never close; change the score of the end once there are `min_tokens`."""
        early = rows.thought < self.min_tokens
        bias: Any = None
        if self.mode == "add":
            bias = np.where(early, 0.0, self.beta)[:, None]
        elif rows.scores is not None:
            end = rows.targets[0]
            bias = scaled_end(rows.scores, end, self.mode, self.scale) - rows.scores[:, end]
            bias[early | ~np.isfinite(np.asarray(bias.tolist()))] = 0.0  # a token that is cut stays so
            bias = bias[:, None]
        return Move(close=np.zeros(len(early), dtype=bool), value=rows.thought, bias=bias)

    def hold(self, thought: int, targets: tuple[int, ...]) -> Hold:
        """Nothing changes before `min_tokens`, nor after them."""
        if thought < self.min_tokens:
            return Hold(tokens=self.min_tokens - thought)
        return Hold(
            sampler=None if self.mode == "add" else EndScale(token=targets[0], mode=self.mode, scale=self.scale)
        )

    def targets(self, words: Vocabulary) -> tuple[int, ...]:
        """The end of thinking."""
        return (words.encode(words.profile.think_close)[0],)


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
        changed[..., self.token] = scaled_end(logits, self.token, self.mode, self.scale)
        return changed


def scaled_end(logits: Any, token: int, mode: Mode, scale: float) -> Any:
    """Return the changed score of one token, `[rows]`, of scores `[rows, vocab]` of numpy or torch."""
    low: Any = 0.0
    if mode == "shifted-scale":
        reachable = logits * 1.0
        reachable[reachable == float("-inf")] = float("inf")  # tokens that a filter has cut do not count
        low = reachable.min(-1)
        low = getattr(low, "values", low)  # torch gives the places too
    return (logits[..., token] - low) / scale + low
