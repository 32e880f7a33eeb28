"""Judge a chain by the way of its hidden states: straight and far is good, much movement is not."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Sampled, Signals
from satisfice.core.errors import BadInput
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import abreast, elect, every_layer, follow, level, new_chain

Floats = NDArray[np.float64]
Signal = Literal["net", "cumulative", "aligned"]


@dataclass(frozen=True, kw_only=True)
class LatentTrajectory:
    """Judge a chain by the way of its hidden states: straight and far is good, much movement is not.

    The states of all blocks over the thinking are averaged over segments of `segment` tokens, h(1) ... h(N). With
    u = h(N) - h(1) and v(n) = h(n) - h(n - 1), all averaged over the layers,

        net = |u| / N,    cumulative = sum_n |v(n)|,    aligned = mean_n cos(v(n), u)

    *early*: n chains think for `look_at` tokens, the one with the best signal goes on, the rest are dropped. *accept*:
    one chain after another runs to its end; the first whose signal is beyond `threshold` is taken (above it, for
    cumulative below), and after n that were not, the majority. A chain of fewer than two segments has no signal: it is
    never accepted, and goes on only where all are so (the first then).

    Which signal works, and even its sign, differs between models and kinds of problem, and `cumulative` grows with the
    length: calibrate on problems with known answers. Differs from the paper: in *early* one signal decides in place of
    a random forest over all three, so there is nothing to train; a zero vector has cosine 0.
    """

    card: ClassVar = Card(
        id="latent-trajectory",
        paper="arXiv:2510.10494",
        where="the three signals as in the authors' code; the two selections from a digest",
        needs=frozenset({Need.HIDDEN}),
        fidelity="second-hand",
        system="latent-trajectory",
        ours=("signal", "stop"),
    )

    mode: Literal["early", "accept"] = "early"  # pick one of n before they end, or take the first that is good enough
    n: Annotated[int, Range(1), Counts.CHAINS] = 5  # chains at most
    signal: Signal = "aligned"  # what decides
    threshold: Annotated[float | None, Range()] = None  # of the signal, for mode=accept
    look_at: Annotated[int, Range(1)] = 2000  # tokens of thinking before the choice, for mode=early
    segment: Annotated[int, Range(1)] = 500  # tokens
    divide_by: Literal["N", "N-1"] = "N"  # net: the paper's, or the code's
    stop: Policy | None = None  # rule that chains follow; none: they run to their end

    def __post_init__(self) -> None:
        check_fields(self)
        if self.mode == "accept" and self.threshold is None:
            raise BadInput(
                "latent-trajectory: mode=accept needs a threshold, and none is right for every model. Measure the "
                "signal on problems with known answers and give threshold=..., or use mode=early."
            )

    async def __call__(self, session: Session) -> Chain:
        return await (self._early(session) if self.mode == "early" else self._accept(session))

    async def _early(self, session: Session) -> Chain:
        ways: dict[Chain, Way] = {}

        async def begin(chain: Chain) -> Chain:
            ways[chain] = self._watch(session, chain)
            await chain.think(limit=self.look_at)
            return chain

        chains = await abreast(session, [begin(session.chain()) for _ in range(self.n)])
        level(chains)
        values = [self._value(ways[chain]) for chain in chains]
        signed = [-np.inf if value is None else self._sign * value for value in values]
        best = max(range(self.n), key=lambda i: (signed[i], -i))
        for i, chain in enumerate(chains):
            self._look(chain, values[i], stop=i != best)
            if i != best:
                chain.drop()
        return await follow(self.stop, session, chains[best])

    async def _accept(self, session: Session) -> Chain:
        chains: list[Chain] = []
        for _ in range(self.n):
            chain = new_chain(session, after=chains)
            way = self._watch(session, chain)
            chains.append(await follow(self.stop, session, chain))
            value = self._value(way)
            good = value is not None and self._sign * value > self._sign * (self.threshold or 0.0)
            self._look(chains[-1], value, stop=good)
            if good and session.parse(chains[-1].answer_text) is not None:
                return chains[-1]
        return elect(session, chains)

    def _look(self, chain: Chain, value: float | None, *, stop: bool) -> None:
        text = "too short to have a signal" if value is None else ""
        chain.look(self.signal, value or 0.0, threshold=self.threshold, stop=stop, text=text)

    @property
    def _sign(self) -> int:
        return -1 if self.signal == "cumulative" else 1

    def _watch(self, session: Session, chain: Chain) -> "Way":
        way = Way(self.segment)
        blocks = every_layer(session)[1:]
        chain.tap(Signals(hidden=blocks), lambda got: way.add(got) if chain.phase == "think" else None)
        return way

    def _value(self, way: "Way") -> float | None:
        found = trajectory(way.points, divide_by=self.divide_by)
        return None if found is None else float(getattr(found, self.signal))


class Trajectory(NamedTuple):
    """The three signals of one chain."""

    net: float
    cumulative: float
    aligned: float


def trajectory(points: ArrayLike, *, divide_by: Literal["N", "N-1"] = "N") -> Trajectory | None:
    """Return the signals of a chain from its segments, `[N, layers, d]`; None for fewer than two segments.

    >>> straight = np.array([[0, 0], [1, 0], [2, 1], [3, 1]])[:, None]
    >>> [round(x, 4) for x in trajectory(straight)]
    [0.7906, 3.4142, 0.9306]
    """
    h = np.asarray(points, dtype=np.float64)
    if len(h) < 2:
        return None
    u, v = h[-1] - h[0], h[1:] - h[:-1]
    drift, moves = np.linalg.norm(u, axis=-1), np.linalg.norm(v, axis=-1)  # [layers], [N - 1, layers]
    norms = moves * drift
    cosines = np.where(norms > 0, (v * u).sum(axis=-1) / np.where(norms > 0, norms, 1.0), 0.0)
    return Trajectory(
        net=float(drift.mean() / (len(h) if divide_by == "N" else len(h) - 1)),
        cumulative=float(moves.sum(axis=0).mean()),
        aligned=float(cosines.mean()),
    )


class Way:
    """The mean states of a chain's segments, of which only sums are kept."""

    def __init__(self, segment: int) -> None:
        self._segment = segment
        self._sums: list[Floats] = []  # [layers, d] each
        self._counts: list[int] = []

    def add(self, got: Sampled) -> None:
        """Take the states of more tokens."""
        if not got.hidden:
            return
        states = np.stack([got.hidden[layer] for layer in sorted(got.hidden)], axis=1).astype(np.float64)
        while len(states):
            if not self._counts or self._counts[-1] == self._segment:
                self._sums.append(np.zeros(states.shape[1:]))
                self._counts.append(0)
            part = states[: self._segment - self._counts[-1]]
            self._sums[-1] = self._sums[-1] + part.sum(axis=0)
            self._counts[-1] += len(part)
            states = states[len(part) :]

    @property
    def points(self) -> Floats:
        """`[N, layers, d]`; the last segment may be shorter than the others."""
        if not self._sums:
            return np.zeros((0, 1, 1))
        return np.stack([total / count for total, count in zip(self._sums, self._counts, strict=True)])
