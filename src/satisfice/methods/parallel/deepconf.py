"""Drop chains in which the model becomes unsure, and let the others vote by how sure they were."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.answers.vote import majority
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Sampled, Signals
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._confidence import Gauge, window_means
from satisfice.methods.parallel._inner import abreast, elect, follow, new_chain

Score = Literal["mean", "tail", "bottom", "lowest"]


@dataclass(frozen=True, kw_only=True)
class DeepConf:
    """Drop chains in which the model becomes unsure, and weigh the votes of the others by how sure they were.

    The confidence of a token is C_i = -(1/k) sum_j log p_(j) over its k likeliest alternatives; that of a chain comes
    from the means of C over sliding windows. *Online*: `warmup` chains run to their end, and

        s = percentile of their lowest windows at 100 - eta

    Every further chain is dropped once a full window has a mean below s. Chains that reached their end vote if their
    own lowest window is at s or above, each with that window as weight; a chain shorter than a window meets s with the
    mean of the whole. eta=10 is DeepConf-low, eta=90 DeepConf-high. *Offline*: all n chains run to their end, and of
    those that have an answer the top eta per cent by `score` vote. That saves nothing. Reference code:
    https://github.com/facebookresearch/deepconf (MIT).

    Differs from the code: the weighted vote is the answer (the code does the same with `compute_multiple_voting=False`,
    and by default returns the plain majority of the same voters). Once the leader's share of the vote is `consensus`
    the rest is cancelled, as in the paper; the code has no such test (`consensus=none`). A chain is checked every few
    tokens, so one that is dropped has sampled at most 7 more. Confidences are not rounded (the code rounds tokens and
    windows to three decimals), and a sampled token outside the `top` does not count (in the code it does, in scores but
    not in the check). Offline the code has the top tenth by `tail` and `bottom` only, and takes `tail` over 2,048
    tokens whatever the window is. Where no voter has an answer, the warm-up chains vote, else all that ended; the code
    then answers nothing. Windows of the paper are for chains of many thousand tokens: a chain shorter than one is never
    dropped on the way. Scores, line and voters were held against the code's on 1,000 random sets of chains.
    """

    card: ClassVar = Card(
        id="deepconf",
        paper="arXiv:2508.15260",
        where="Sec. 3, offline and online thinking with confidence",
        needs=frozenset({Need.TOP_LOGPROBS, Need.ABORT}),
        fidelity="code",
        ours=("n", "score", "consensus", "stop"),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 32  # chains in all
    mode: Literal["online", "offline"] = "online"  # drop chains on the way, or only weigh them
    eta: Annotated[float, Range(0, 100)] = 10.0  # per cent of the chains that are sure enough
    warmup: Annotated[int, Range(1), Counts.CHAINS] = 16  # chains that run to their end first, online
    window: Annotated[int, Range(1)] = 2048  # tokens
    score: Score = "lowest"  # of a chain, offline
    top: Annotated[int, Range(1), Counts.LIKELIEST] = 20  # likeliest tokens that confidence is taken over
    consensus: Annotated[float | None, Range(0, 1)] = 0.95  # share of the vote that ends the asking; none: never
    stop: Policy | None = None  # rule that each chain follows; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        online = self.mode == "online"
        score: Score = "lowest" if online else self.score
        gauges: dict[Chain, Gauge] = {}
        first = min(self.warmup, self.n) if online else self.n
        begun = [new_chain(session) for _ in range(first)]
        ended = [
            (chain, chain_score(gauges[chain].values, score, self.window))
            for chain in await abreast(session, [self._run(session, gauges, chain) for chain in begun])
        ]
        warm = list(ended)
        judged = warm if online else [(c, s) for c, s in warm if session.parse(c.answer_text) is not None] or warm
        line = float(np.percentile([value for _, value in judged], 100 - self.eta))
        voters = [(chain, value) for chain, value in judged if value >= line]
        if online and first < self.n and not self._agree(session, voters):
            late = [new_chain(session, after=[chain for chain, _ in warm]) for _ in range(self.n - first)]
            async with session.race([self._run(session, gauges, chain, line) for chain in late]) as race:
                async for chain in race:
                    if chain.closed:
                        continue
                    ended.append((chain, chain_score(gauges[chain].values, score, self.window)))
                    if ended[-1][1] >= line:
                        voters.append(ended[-1])
                        if self._agree(session, voters):
                            break
        voters = next((some for some in (voters, warm) if self._answers(session, some)), ended)
        weights = [weight for _, weight in voters]
        return elect(session, [chain for chain, _ in voters], weights, "share of confident votes")

    async def _run(
        self, session: Session, gauges: dict[Chain, Gauge], chain: Chain, line: float | None = None
    ) -> Chain:
        """Return one chain under the inner rule; a chain that falls below the line comes back closed."""
        gauge = Gauge(self.top)
        chain.tap(Signals(top_logprobs=self.top), gauge if line is None else _Guard(gauge, self.window, line))
        try:
            chain = await follow(self.stop, session, chain)
        except _Unsure:
            chain.drop()
        gauges[chain] = gauge
        return chain

    def _answers(self, session: Session, voters: Sequence[tuple[Chain, float]]) -> bool:
        return any(session.parse(chain.answer_text) is not None for chain, _ in voters)

    def _agree(self, session: Session, voters: Sequence[tuple[Chain, float]]) -> bool:
        answers = [session.parse(chain.answer_text) for chain, _ in voters]
        vote = majority(answers, same=session.same, weights=[weight for _, weight in voters])
        return self.consensus is not None and vote.parsed > 0 and vote.share >= self.consensus


def chain_score(confidence: ArrayLike, score: Score, window: int) -> float:
    """Return the confidence of a chain from those of its tokens, `[n]`: of all, of the last window, of the lowest ones.

    `bottom` is the mean of the lowest tenth of the windows, at least one.

    >>> values = [1.4594, 0.8574, 0.9832, 1.7789]
    >>> [round(chain_score(values, score, 2), 4) for score in ("mean", "tail", "bottom", "lowest")]
    [1.2697, 1.381, 0.9203, 0.9203]
    """
    values = np.asarray(confidence, dtype=np.float64)
    if not values.size:
        return 0.0
    windows = np.sort(window_means(values, window))
    match score:
        case "mean":
            return float(values.mean())
        case "tail":
            return float(values[-window:].mean())
        case "bottom":
            return float(windows[: max(1, len(windows) // 10)].mean())
        case "lowest":
            return float(windows[0])


class _Unsure(Exception):
    """The confidence of a chain has fallen below the line."""


class _Guard:
    """A gauge that gives up the chain once a full window is below the line."""

    def __init__(self, gauge: Gauge, window: int, line: float) -> None:
        self._gauge, self._window, self._line = gauge, window, line

    def __call__(self, got: Sampled) -> None:
        known = len(self._gauge.values)
        self._gauge(got)
        values = self._gauge.values[max(0, known - self._window + 1) :]
        if len(values) >= self._window and window_means(values, self._window).min() < self._line:
            raise _Unsure
