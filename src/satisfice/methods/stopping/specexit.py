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
from satisfice.core.problem import Verdict
from satisfice.core.recorded import Checkpoint, RecordedChain, Records
from satisfice.core.session import Session
from satisfice.methods.stopping.artefact import Artefact, load_artefact, sigmoid
from satisfice.methods.stopping.learning import LEAST, Classifier, Fitted, collect, layers_of, network_of, states


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

    @staticmethod
    def fit(records: Records, classifier: Classifier, seed: int) -> Fitted:
        """Learn a linear head on the states at checkpoints, with the labels of `exit_targets`."""
        layers = layers_of(records)
        found = collect(
            (states(point, layers, 0), target, chain.problem.id)
            for chain in records.chains()
            for point, target in zip(chain.checkpoints, exit_targets(chain), strict=True)
            if target is not None and point.hidden
        )
        train, test = found.part("train"), found.part("test")
        if len(train.x) < LEAST or len(test.x) < LEAST:
            raise BadInput(
                f"specexit: {records.folder} has {len(found.x)} checkpoints with states on chains that come to the "
                "right answer, too few to learn from. Record more chains."
            )
        from sklearn.linear_model import Ridge
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(train.x)
        ridge = Ridge(alpha=10.0).fit(scaler.transform(train.x), train.y)
        network = network_of(scaler, [np.atleast_2d(ridge.coef_).T], [np.ravel(ridge.intercept_)])
        told = network(test.x)
        fit = 1 - ((told - test.y) ** 2).sum(0) / ((test.y - test.y.mean(0)) ** 2).sum(0)
        names = ("confidence", "progress", "remain")
        measured = {"looks": len(test.x), "explained": dict(zip(names, fit.round(4).tolist(), strict=True))}
        return Fitted(network=network, layers=layers, measured=measured)


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


def exit_targets(chain: RecordedChain) -> list[NDArray[np.float64] | None]:
    """Return what the three signals should be at each checkpoint of a chain, on the scales that the head is linear on.

    With `shortest` the least prefix from which the forced answer is right: the logit of the mean probability of the
    trial's tokens, the logit of position / shortest (at most 1), and the log of the tokens that remain to it (at least
    1). None where there is no such prefix, or no trial. Reconstructed from a digest of the paper.
    """
    shortest = next((p.at for p in chain.checkpoints if _right(p)), None)
    targets: list[NDArray[np.float64] | None] = []
    for point in chain.checkpoints:
        logprobs = point.replies["trial"].tokens.logprobs if "trial" in point.replies else None
        if shortest is None or logprobs is None or not len(logprobs):
            targets.append(None)
            continue
        confidence = float(np.exp(logprobs.astype(np.float64)).mean())
        progress = min(1.0, point.at / shortest) if shortest else 1.0
        shares = np.clip([confidence, progress], 0.01, 0.99)
        targets.append(np.array([*np.log(shares / (1 - shares)), np.log(max(shortest - point.at, 1))]))
    return targets


def _right(point: Checkpoint) -> bool:
    reply = point.replies.get("trial") or point.replies.get("answer")
    return reply is not None and reply.verdict is Verdict.RIGHT
