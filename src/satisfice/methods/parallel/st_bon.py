"""Start several chains, and keep the one that agrees most with the others as soon as they differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Sampled, Signals
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import abreast, every_layer, follow, level

Floats = NDArray[np.float64]
_SMALL, _NEARLY = 1e-8, 1 - 1e-7  # norms and angles are at least the one, cosines at most the other: the code's


@dataclass(frozen=True, kw_only=True)
class StBon:
    """Start several chains, and keep the one that agrees most with the others as soon as they differ.

    All chains run in step until no two of them are alike, at step c, and then for tau = max(1, m c) steps more. At each
    of these the way of a chain through the layers, from the embedding h_0 to the last block h_L, becomes one number,

        F = (1/L) sum_l [ |h_l - h_(l+1)| / |h_0 - h_L| - angle(h_l, h_(l+1)) / angle(h_0, h_L) ]

    where h_l is the mean over the tokens so far of the state that predicted each. The chain whose F is nearest to those
    of the others, by mean squared difference, has that step's vote. The chain with most votes goes on alone, under
    `stop`; the others are dropped. Reference code: https://github.com/Alsace08/ST-BoN (Apache-2.0).

    Differs from the code: a chain that stops thinking counts as one that ends; sampling is the session's (the paper has
    top-k 20, top-p 0.95, temperature 0.7). Chains that never differ, as at temperature 0, are waited for `patience`
    steps.
    """

    card: ClassVar = Card(
        id="st-bon",
        paper="arXiv:2503.01422",
        where="Sec. 3, early decoding with a buffer window",
        needs=frozenset({Need.HIDDEN}),
        fidelity="code",
        system="st-bon",
        ours=("patience", "stop"),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 10  # chains
    m: Annotated[float, Range(0)] = 1.0  # length of the buffer window, as a share of c
    estimates: Literal["code", "paper"] = "code"  # votes at steps c+1 to c+tau; the paper votes at step c too
    patience: Annotated[int, Range(1)] = 256  # steps that chains may be alike for
    stop: Policy | None = None  # rule that the chosen chain follows from there on; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chains = [session.chain() for _ in range(self.n)]
        if self.n == 1:
            return await follow(self.stop, session, chains[0])
        states: dict[Chain, list[Floats]] = {chain: [] for chain in chains}
        done, apart = 0, None
        while apart is None and done < self.patience:
            # The window is at least this long wherever c is, so these steps are needed in any case.
            step = min(max(1, int(self.m * done)), self.patience - done)
            await self._step(session, chains, states, step)
            done += step
            apart = apart_at([chain.ids[len(chain.ids) - len(chain) :] for chain in chains], done)
            ended = [len(chain) for chain in chains if chain.phase != "think"]
            apart = min(filter(None, (apart, *ended)), default=None)
        begin = done if apart is None else apart
        end = begin + max(1, int(self.m * begin))
        await self._step(session, chains, states, end - done)
        first = begin + (self.estimates == "code")
        scores = [
            disagreement([chain_feature(_means(states[chain], at)) for chain in chains]) for at in range(first, end + 1)
        ]
        votes = np.bincount([int(np.argmin(score)) for score in scores], minlength=self.n)
        best = int(votes.argmax())
        level(chains)
        for number, chain in enumerate(chains):
            chain.look("votes of the window", float(votes[number]), stop=number != best)
            if number != best:
                chain.drop()
        return await follow(self.stop, session, chains[best])

    async def _step(
        self, session: Session, chains: Sequence[Chain], states: Mapping[Chain, list[Floats]], steps: int
    ) -> None:
        signals = Signals(hidden=every_layer(session))

        async def go(chain: Chain) -> Chain:
            if chain.phase == "think" and steps > 0:
                await chain.think(limit=steps, signals=signals)
                if chain.last is not None:
                    states[chain].append(_stacked(chain.last))
            return chain

        await abreast(session, map(go, chains))


def apart_at(chains: Sequence[Sequence[int]], steps: int) -> int | None:
    """Return the first step at which no two of the chains are alike; None when there is none within `steps`.

    >>> apart_at([[5, 7, 1], [5, 7, 2], [5, 8, 3]], 3)
    3
    """
    return next((n for n in range(1, steps + 1) if len({tuple(ids[:n]) for ids in chains}) == len(chains)), None)


def chain_feature(states: ArrayLike) -> float:
    """F of a chain: how its mean state moves through the layers, `[L + 1, d]`.

    >>> [round(chain_feature(s), 4) for s in ([[1, 0], [1, 1], [0, 2]], [[1, 0], [3, 1], [2, 2]])]
    [0.0398, 0.3162]
    """
    h = np.asarray(states, dtype=np.float64)
    moves = np.linalg.norm(h[:-1] - h[1:], axis=-1) / max(float(np.linalg.norm(h[0] - h[-1])), _SMALL)
    turns = _angle(h[:-1], h[1:]) / max(float(_angle(h[:1], h[-1:])[0]), _SMALL)
    return float((moves - turns).mean())


def disagreement(features: Sequence[float]) -> Floats:
    """S_i: the mean squared difference between the feature of each chain and those of the others; 0 of a lone one.

    >>> disagreement([0.0398, 0.0244, 0.3162]).round(4).tolist()
    [0.0383, 0.0427, 0.0808]
    """
    f = np.asarray(features, dtype=np.float64)
    squares: Floats = (f[:, None] - f[None, :]) ** 2
    return np.asarray(squares.sum(axis=1) / max(1, len(f) - 1))


def _angle(a: Floats, b: Floats) -> Floats:
    norms = np.maximum(np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1), _SMALL)
    cosines: Floats = np.clip((a * b).sum(axis=-1) / norms, -_NEARLY, _NEARLY)
    return np.arccos(cosines)


def _stacked(got: Sampled) -> Floats:
    """Return the states of the tokens of one call, `[n, L + 1, d]`."""
    if not got.hidden:
        return np.zeros((0, 1, 1))
    return np.stack([got.hidden[layer] for layer in sorted(got.hidden)], axis=1).astype(np.float64)


def _means(parts: Sequence[Floats], length: int) -> Floats:
    """Return the mean state of the first `length` tokens, `[L + 1, d]`."""
    states = np.concatenate([part for part in parts if len(part)] or [np.zeros((1, 2, 1))])
    return np.asarray(states[:length].mean(axis=0))
