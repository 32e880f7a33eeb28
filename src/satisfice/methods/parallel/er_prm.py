"""Search over steps, and drop half-written ones that a reward model finds weak."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.scorer import Scorer
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import abreast, follow, level


@dataclass(frozen=True, kw_only=True)
class ErPrm:
    """Search over steps, and drop half-written ones that a reward model finds weak.

    Every chain is continued `width` times, but only for `tau` tokens of its next step. The scorer rates these
    beginnings; the best n / width of all go on to the end of the step, the others are dropped. This repeats until all
    chains have ended their thinking; the best-rated one answers. The first round has one chain to continue, so `width`
    candidates.

    The rejection is safe as far as the score of half a step says something about the score of the whole: the chance of
    dropping the best chain falls exponentially with `tau` (the paper's Theorem; it needs a correlation that only a
    measurement can show). Reference code: https://github.com/scheshmi/accelerated-reasoning-ER-PRM.

    The scorer is a reward model on text, see `satisfice.core.scorer`; without one, a chain's rating is the mean
    log-probability of its own tokens, which is no reward model and only a stand-in.

    Differs from the code: a chain that has ended keeps its place among the candidates (the code continues open chains
    only and takes the best of *those*, so that one that has ended is lost as soon as another goes on:
    `keep_finished=false`); a chain ends with its thinking, there with a closed box and a closing phrase; at the end
    chains are rated once more, whole (the code ranks by the ratings of the last beginnings); a beginning that came to
    the end of its step is not continued (there every survivor gets `complete` more tokens); ratings belong to chains
    and not to texts, texts are not cut at 2,048 characters, and no step tag is written into them; continuations that
    say nothing are kept; a chosen chain without a readable answer yields to the next best; sampling is the session's
    (there temperature 0.8). The rule `stop` takes over those chains that are still thinking after `max_steps`.
    """

    card: ClassVar = Card(
        id="er-prm",
        paper="arXiv:2508.01969",
        where="the search with early rejection",
        needs=frozenset({Need.FORK, Need.LOGPROBS}),
        fidelity="paper",
        system="partial-reward-rejection",
        ours=("scorer", "stop"),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 16  # candidates a round
    width: Annotated[int, Range(1), Counts.CHAINS] = 4  # continuations of each chain
    tau: Annotated[int, Range(1)] = 64  # tokens of a step before it is rated
    complete: Annotated[int, Range(0)] = 256  # tokens in which a surviving step may come to its end
    max_steps: Annotated[int, Range(1), Counts.CHAINS] = 20  # rounds
    keep_finished: bool = True  # chains that have ended stay candidates; false: as in the code
    scorer: Scorer | None = None  # reward model; none: a chain's own mean log-probability
    stop: Policy | None = None  # rule for chains that still think after the last round; none: they run to their end

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        beams = [session.chain()]
        means = {beams[0]: (0.0, 0)}  # sum of log-probabilities and how many
        for _ in range(self.max_steps):
            if all(chain.phase != "think" for chain in beams):
                break
            grown: list[Chain] = []
            if not self.keep_finished:
                for chain in beams:
                    if chain.phase != "think":
                        chain.drop()
                beams = [chain for chain in beams if chain.phase == "think"]
            for chain in beams:
                copies = [chain.fork() for _ in range(self.width - 1)] if chain.phase == "think" else []
                means.update(dict.fromkeys(copies, means[chain]))
                grown += [chain, *copies]
            open_ = [chain for chain in grown if chain.phase == "think"]
            await abreast(session, [self._write(chain, means, self.tau) for chain in open_])
            ratings = self._rate(session, grown, means)
            level(grown)
            ranked = sorted(range(len(grown)), key=lambda i: (-ratings[grown[i]], i))
            kept = [grown[i] for i in sorted(ranked[: max(1, self.n // self.width)])]
            for chain in grown:
                if chain not in kept:
                    chain.drop()
            short = [chain for chain in kept if chain in open_ and not self._at_step(chain)]
            await abreast(session, [self._write(chain, means, self.complete) for chain in short])
            level(kept)
            beams = kept
        ratings = self._rate(session, beams, means)
        return await self._answer(session, sorted(beams, key=lambda chain: -ratings[chain]))

    async def _write(self, chain: Chain, means: dict[Chain, tuple[float, int]], tokens: int) -> Chain:
        """Write on to the end of the step, its delimiter included, or for so many tokens."""
        step = chain.session.engine.profile.step
        paused = await chain.think(until=(step,), limit=tokens, signals=Signals(logprobs=True))
        if chain.last is not None and chain.last.logprobs is not None:
            total, count = means[chain]
            means[chain] = total + float(chain.last.logprobs.sum()), count + len(chain.last.ids)
        if paused:
            await chain.think(limit=0)  # past the delimiter
        return chain

    def _at_step(self, chain: Chain) -> bool:
        return chain.phase != "think" or chain.thinking.endswith(chain.session.engine.profile.step)

    def _rate(
        self, session: Session, chains: Sequence[Chain], means: dict[Chain, tuple[float, int]]
    ) -> dict[Chain, float]:
        if self.scorer is None:
            return {chain: means[chain][0] / max(1, means[chain][1]) for chain in chains}
        scores = self.scorer(session.problem.question, [chain.thinking for chain in chains])
        return dict(zip(chains, map(float, scores), strict=True))

    async def _answer(self, session: Session, ranked: Sequence[Chain]) -> Chain:
        """Return the best chain that comes to an answer; the best of all where none does."""
        for place, chain in enumerate(ranked):
            chain.look("place by score", place + 1, stop=True)
            answered = await follow(self.stop, session, chain)
            if session.parse(answered.answer_text) is not None:
                return answered
            if place == 0:
                best = answered
        return best
