"""Stop at the end of a step once three signals, read off the hidden states and smoothed, agree that it is done."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.session import Session
from satisfice.methods.stopping.artefact import Artefact, load_artefact, sigmoid


@dataclass(frozen=True, kw_only=True)
class SpecExit:
    """Stop at the end of a step once confidence, progress and what remains, read off the hidden states, say so.

    A linear head on the states o of some layers gives three signals a token,

        confidence = sigmoid(o_1),   progress = sigmoid(o_2),   remain = exp(o_3) tokens,

    each smoothed as e <- rate * new + (1 - rate) * e, the first value as it is. At the end of a step thinking ends if
    confidence > `confidence`, progress > `progress` and remain < `remain`. No probe is needed: reading the signals
    costs next to nothing. Reference code: https://github.com/Tencent/AngelSlim (Apache-2.0).

    There the signals come with speculative decoding, averaged over the tokens that are accepted together; here every
    token is one such group. How the head is trained is partly reconstructed: see `satisfice calibrate specexit`.
    """

    card: ClassVar = Card(
        id="specexit",
        paper="arXiv:2509.24248",
        where="exit signals and their smoothing, as in the authors' code; training labels reconstructed",
        needs=frozenset({Need.INJECT, Need.HIDDEN}),
        fidelity="reconstructed",
        system="specexit",
    )

    artefact: str = ""  # path of what `satisfice calibrate specexit` made
    confidence: Annotated[float, Range(0, 1)] = 0.8  # strict
    progress: Annotated[float, Range(0, 1)] = 0.3  # strict
    remain: Annotated[float, Range(0)] = 200.0  # tokens; strict
    rate: Annotated[float, Range(0.001, 1)] = 0.1  # of the smoothing
    _learned: Artefact = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        learned = load_artefact(self.artefact, self.card.id)
        if learned.network.biases[-1].size != 3:
            raise BadInput(f"specexit: {self.artefact} does not give three signals.")
        object.__setattr__(self, "_learned", learned)

    async def __call__(self, session: Session) -> Chain:
        learned, step = self._learned, session.engine.profile.step
        learned.check_model(session.engine)
        chain = session.chain()
        smooth: NDArray[np.float64] | None = None
        while await chain.think(until=(step,), signals=Signals(hidden=learned.layers)):
            if chain.last is not None and chain.last.ids:
                states = np.concatenate([chain.last.hidden[layer] for layer in learned.layers], axis=1)
                smooth = ewma(signals_of(learned.network(states)), smooth, self.rate)[-1]
            if smooth is None or not await chain.think(limit=0):  # takes the delimiter of the step in
                continue
            stop = done(smooth, self.confidence, self.progress, self.remain)
            told = f"progress {smooth[1]:.2f}, {smooth[2]:.0f} tokens remain"
            chain.look("confidence", float(smooth[0]), threshold=self.confidence, stop=stop, text=told)
            if stop:
                return await chain.close_thinking()
        return await chain.finish()


def signals_of(outputs: ArrayLike) -> NDArray[np.float64]:
    """Confidence, progress and remaining tokens `[n, 3]` from the outputs of the head `[n, 3]`."""
    o = np.asarray(outputs, dtype=np.float64)
    return np.stack([sigmoid(o[:, 0]), sigmoid(o[:, 1]), np.exp(np.minimum(o[:, 2], 50))], axis=1)


def ewma(values: Iterable[ArrayLike], before: ArrayLike | None = None, rate: float = 0.1) -> NDArray[np.float64]:
    """Smooth a series, from the smoothed value `before` it if there is one; what it was after each value.

    >>> ewma([[0.5, 0.2, 400], [0.9, 0.4, 150], [0.95, 0.5, 90]]).round(4).tolist()
    [[0.5, 0.2, 400.0], [0.54, 0.22, 375.0], [0.581, 0.248, 346.5]]
    """
    smooth: list[NDArray[np.float64]] = []
    last = None if before is None else np.asarray(before, dtype=np.float64)
    for value in values:
        new = np.asarray(value, dtype=np.float64)
        last = new if last is None else rate * new + (1 - rate) * last
        smooth.append(last)
    return np.array(smooth)


def done(smooth: ArrayLike, confidence: float, progress: float, remain: float) -> bool:
    """Return whether all three smoothed signals are past their thresholds.

    >>> done([0.581, 0.248, 346.5], 0.8, 0.3, 200), done([0.81, 0.31, 199], 0.8, 0.3, 200)
    (False, True)
    """
    c, p, r = np.asarray(smooth, dtype=np.float64)
    return bool(c > confidence and p > progress and r < remain)
