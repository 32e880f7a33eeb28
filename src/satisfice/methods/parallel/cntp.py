"""Where the next token is open, write on to the next punctuation mark several times and keep the likeliest piece."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Sampled, Sampler, Signals, Watch
from satisfice.core.errors import BadInput
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Session
from satisfice.methods.parallel._inner import abreast, level

MARKS = (".", ",", "\n", "?", "!", ":", ";", ")", "]", "}")
Rounding = Literal["paper", "code"]


@dataclass(frozen=True, kw_only=True)
class Cntp:
    """Where the next token is open, write on to the next punctuation mark several times and keep the likeliest piece.

    With H the entropy of the distribution that is sampled from (after temperature and top-p), the number of trials is

        N = clip(floor((H - h_min) / (h_max - h_min) n_max), 1, n_max)

    Each trial goes on to the next punctuation mark, and the one with the lowest perplexity exp(-mean ln p) over its own
    tokens stays. Reference code: https://github.com/wyzjack/CNTP.

    Differs from the code: that rounds N otherwise (`rounding=code`) and has 40 trials at most where its scripts have
    10; a trial has at most `segment` tokens (the code has no such limit); marks are found in text, so that a token such
    as ".\\n" ends a trial too; H is taken over the `top` likeliest tokens; the first trial keeps the token that was
    drawn when the place was found; the visible answer is sampled as always. No rule goes inside, since this one does
    the sampling itself. A piece chosen by mean log-probability tends to be a short or stock one.
    """

    card: ClassVar = Card(
        id="cntp",
        paper="arXiv:2507.03038",
        where="Sec. 3, number of trials and choice by perplexity",
        needs=frozenset({Need.FORK, Need.ENTROPY, Need.TOP_LOGPROBS}),
        fidelity="paper",
        system="cntp",
        ours=("segment", "top"),
    )

    n_max: Annotated[int, Range(1), Counts.CHAINS] = 10  # most trials
    h_min: Annotated[float, Range(0)] = 0.01  # nats
    h_max: Annotated[float, Range(0)] = 1.5  # nats
    segment: Annotated[int, Range(1)] = 64  # longest trial, tokens
    rounding: Rounding = "paper"  # how N is rounded
    top: Annotated[int, Range(2), Counts.LIKELIEST] = 64  # likeliest tokens that H is taken over

    def __post_init__(self) -> None:
        check_fields(self)
        if self.h_max <= self.h_min:
            raise BadInput(f"cntp: h_max must be above h_min={self.h_min}, got {self.h_max}. Raise h_max.")

    async def __call__(self, session: Session) -> Chain:
        chain, signals = session.chain(), Signals(top_logprobs=self.top)
        # Temperature up to 1 and top-p only lower the entropy, so the engine can pass over tokens without a trial.
        warm = session.temperature > 1 or session.sampler is not None
        line = -1.0 if warm else self.h_min + (1 if self.rounding == "code" else 2) * self._unit * (1 - 1e-6)
        watch = Watch(signal="entropy", above=line)
        while await chain.think(watch=watch, signals=signals):
            if chain.last is None or chain.last.reason != "signal":
                break
            logprobs = self._processed(session, chain.last)
            count = trials(entropy(logprobs[-1]), self.n_max, self.h_min, self.h_max, self.rounding)
            if count > 1:
                chain = await self._choose(session, chain, count)
        return await chain.finish()

    @property
    def _unit(self) -> float:
        return (self.h_max - self.h_min) / max(1, self.n_max - (self.rounding == "code"))

    async def _choose(self, session: Session, chain: Chain, count: int) -> Chain:
        """Go on with `count` chains, the first of which has its first token already, and keep the best."""
        assert chain.last is not None
        said: dict[Chain, list[Sampled]] = {chain: [_tail(chain.last)]}
        others = [chain.fork(back=1) for _ in range(count - 1)]
        said.update({other: [] for other in others})
        done = any(mark in session.engine.decode(chain.ids[-1:]) for mark in MARKS)

        async def write(trial: Chain) -> Chain:
            if trial is chain and done:
                return trial
            left = self.segment - (trial is chain)
            if await trial.think(until=MARKS, limit=left, signals=Signals(top_logprobs=self.top)):
                await self._take_back(trial, said)
            elif trial.last is not None:
                said[trial].append(trial.last)
            return trial

        await abreast(session, map(write, said))
        level(list(said))
        scores = [perplexity(self._chosen(session, parts)) for parts in said.values()]
        best = int(np.argmin(scores))
        for number, trial in enumerate(list(said)):
            if number == best:
                trial.look("perplexity", scores[number], stop=False, text=f"best of {count}")
            else:
                trial.drop()
        return list(said)[best]

    async def _take_back(self, trial: Chain, said: dict[Chain, list[Sampled]]) -> None:
        """Go past the mark that a trial stands before."""
        if trial.last is not None:
            said[trial].append(trial.last)
        await trial.think(limit=0)

    def _processed(self, session: Session, got: Sampled) -> list[NDArray[np.float64]]:
        rows = got.top_logprobs if got.top_logprobs is not None else np.zeros((0, 1))
        return [processed(row, session.temperature, session.top_p, session.sampler) for row in rows]

    def _chosen(self, session: Session, parts: Sequence[Sampled]) -> list[float]:
        """Return the log-probability of each token of a trial, under what it was drawn from."""
        found = []
        for part in parts:
            rows, tops = self._processed(session, part), part.top_ids if part.top_ids is not None else ()
            for token, row, ids in zip(part.ids, rows, tops, strict=True):
                known = row[np.asarray(ids) == token]
                found.append(
                    float(known[0]) if len(known) and np.isfinite(known[0]) else float(row[np.isfinite(row)].min())
                )
        return found


def trials(h: float, n_max: int = 10, h_min: float = 0.01, h_max: float = 1.5, rounding: Rounding = "paper") -> int:
    """Return how many trials an entropy of `h` nats is worth.

    >>> [trials(h) for h in (1.4206, 0.4, 0.005, 1.6)], trials(0.4, rounding="code")
    ([9, 2, 1, 10], 3)
    """
    share = min(1.0, max(0.0, (h - h_min) / (h_max - h_min)))
    return int(1 + (n_max - 1) * share) if rounding == "code" else max(1, int(share * n_max))


def perplexity(logprobs: ArrayLike) -> float:
    """exp(-mean ln p) of the tokens of a piece, `[n]`; infinite for an empty one.

    >>> [round(perplexity(np.log(p)), 4) for p in ([0.45, 0.6, 0.9], [0.25, 0.9, 0.9, 0.95], [0.15, 0.5])]
    [1.6025, 1.51, 3.6515]
    """
    values = np.asarray(logprobs, dtype=np.float64)
    return float(np.exp(-values.mean())) if values.size else float("inf")


def processed(
    logprobs: ArrayLike, temperature: float, top_p: float, sampler: Sampler | None = None
) -> NDArray[np.float64]:
    """Log-probabilities after temperature, filter and top-p, of the likeliest tokens in order, `[k]`; -inf where cut.

    >>> np.exp(processed(np.log([0.5, 0.3, 0.2]), 1.0, 0.7)).round(3).tolist()
    [0.625, 0.375, 0.0]
    """
    scores = np.asarray(logprobs, dtype=np.float64)[None] / max(temperature, 1e-6)
    if sampler is not None:
        scores = np.asarray(sampler(scores), dtype=np.float64)
    p = np.exp(scores[0] - scores[0].max())
    p /= p.sum()
    before = p.cumsum() - p
    p = np.where(before < top_p, p, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p / p.sum()))


def entropy(logprobs: ArrayLike) -> float:
    """Entropy in nats of a distribution given by its log-probabilities; those of -inf add nothing."""
    values = np.asarray(logprobs, dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(-(np.exp(values) * values).sum())


def _tail(got: Sampled) -> Sampled:
    """Return the last token of a call, alone."""
    assert got.top_logprobs is not None
    assert got.top_ids is not None
    return Sampled(
        ids=got.ids[-1:], reason=got.reason, cut=got.cut, top_logprobs=got.top_logprobs[-1:], top_ids=got.top_ids[-1:]
    )
