"""Stop at a cue once the answer in hand is worth more than going on, as learned from recorded chains."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.answers import same
from satisfice.answers.extract import read_trial
from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.optimal_stopping import gains_of_stopping
from satisfice.core.problem import Verdict
from satisfice.core.recorded import Checkpoint, RecordedChain, Records
from satisfice.core.session import Session
from satisfice.methods.stopping.artefact import Artefact, Network, load_artefact
from satisfice.methods.stopping.learning import Classifier, Fitted
from satisfice.methods.stopping.trial import agreeing, ask_trial, think_to_cue

PRICES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""What a thousand tokens may cost, in right answers; one set of weights is learned for each."""
DATES = 8  # cues with weights of their own; later ones have those of the last
KNOTS = (1.0, 1.5, 2.0, 3.0)  # of the nines of a confidence: 2 is 99 %
RIDGE, LEAST = 1e-4, 100


@dataclass(frozen=True, kw_only=True)
class Look:
    """What is seen at a cue: a trial answer, and where the chain stands."""

    logprobs: NDArray[Any]  # [n] nats, of the trial's sampled tokens
    entropy: float  # nats, mean over the trial's tokens; NaN where it is not known
    agreeing: int  # how many of the newest trial answers are the same, this one among them; 0: it says nothing
    at: int  # tokens of thinking before it


@dataclass(frozen=True, kw_only=True)
class StopValue:
    """Stop once the answer in hand is worth more than going on, tokens priced.

    At each cue a copy of the chain is asked for its answer. With Z_t = 1 where that answer is right (else 0), tokens at
    `price` right answers per thousand, and x_t what is seen there (`features`: the trial's confidence and its course,
    agreement with the trials before, length, entropy), the gain of stopping is learned backward in time on recorded
    chains by least squares (`core.optimal_stopping`, after Longstaff and Schwartz 2001):

        G_t = w_t . x_t  ~  E[Z_t - V_t | x_t],    V_t = max(Z_(t+1), V_(t+1)) as the rule decides - tokens * price

    Thinking ends at the first cue with G_t > 0, and the trial answer is written down. The rule is ours; on the pocket
    reasoner it saves less than DEER under the same promise (studies/recommend-pocket).
    """

    card: ClassVar = Card(
        id="stop-value",
        paper="",
        where="least-squares Monte Carlo (doi:10.1093/rfs/14.1.113) on recorded chains; the rule is ours",
        needs=frozenset({Need.FORK, Need.INJECT, Need.LOGPROBS, Need.ENTROPY}),
        fidelity="standard",
        ours=("price", "trial_tokens"),
    )

    artefact: str = ""  # path of what `satisfice calibrate stop-value` made
    price: Annotated[float, Range(0)] = 0.2  # right answers that a thousand tokens may cost: one of those learned
    trial_tokens: Annotated[int, Range(1)] = 20  # longest trial answer, tokens
    _learned: Artefact = field(init=False, repr=False, compare=False)
    _column: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        learned = load_artefact(self.artefact, self.card.id)
        prices = [float(price) for price in learned.arrays.get("prices", np.zeros(0))]
        near = [at for at, price in enumerate(prices) if math.isclose(price, self.price, rel_tol=1e-4)]
        if not near or learned.network.biases[-1].size != DATES * len(prices):
            raise BadInput(
                f"stop-value: price={self.price:g} was not learned by {self.artefact}, only "
                f"{', '.join(f'{price:g}' for price in prices) or 'none'}. Take one of these."
            )
        object.__setattr__(self, "_learned", learned)
        object.__setattr__(self, "_column", near[0] * DATES)

    async def __call__(self, session: Session) -> Chain:
        self._learned.check_model(session.engine)
        profile, chain = session.engine.profile, session.chain()
        answers, seen = list[str | None](), list[Look]()
        while await think_to_cue(chain):
            at = len(chain)
            trial = await ask_trial(chain, self.trial_tokens, signals=Signals(logprobs=True, entropy=True))
            answers.append(read_trial(trial.text) if trial.closed else None)
            entropy = float(trial.entropy.mean()) if trial.entropy.size else math.nan
            seen.append(Look(logprobs=trial.logprobs, entropy=entropy, agreeing=agreeing(answers, session.same), at=at))
            gains = self._learned.network(features(seen))
            gain = float(gains[self._column + min(len(seen), DATES) - 1])
            stop = gain > 0 and answers[-1] is not None
            chain.look("gain of stopping", gain, threshold=0.0, stop=stop, text=trial.text)
            if stop:
                assert answers[-1] is not None
                return await chain.close_thinking(answer=profile.written(answers[-1]))
        return await chain.finish()

    @staticmethod
    def fit(records: Records, classifier: Classifier, seed: int) -> Fitted:
        """Learn the gains of stopping at cues, at each of `PRICES`; all chains take part, whatever `classifier` is."""
        ends = records.profile.answer_end
        traces = [trace_of(chain, ends, records.decode) for chain in records.chains()]
        network = network_from(traces)
        looks = sum(len(trace.looks) for trace in traces)
        return Fitted(
            network=network, arrays={"prices": np.array(PRICES, dtype=np.float32)},
            measured={"chains": len(traces), "looks": looks, "prices": list(PRICES)},
        )  # fmt: skip


def features(looks: Sequence[Look]) -> NDArray[np.float64]:
    """Return `[d]`, what the rule knows at the last of some looks.

    Nines, -log10(1 - p), of the trial's mean and least probability with hinges at `KNOTS`; the change of the first
    since the look before and its distance to the best so far; whether the newest two and three trials agree; tokens so
    far; the trial's entropy.
    """
    nines = [_nines(look.logprobs) for look in looks]
    mean, least = nines[-1]
    earlier = [pair[0] for pair in nines[:-1]]
    look = looks[-1]
    entropy = 0.0 if math.isnan(look.entropy) else look.entropy
    return np.array(
        [
            mean, *(max(mean - knot, 0.0) for knot in KNOTS), least, *(max(least - knot, 0.0) for knot in KNOTS),
            mean - earlier[-1] if earlier else 0.0, max(*earlier, mean) - mean if earlier else 0.0,
            float(look.agreeing >= 2), float(look.agreeing >= 3), float(look.agreeing == 0), look.at / 100, entropy,
        ]
    )  # fmt: skip


def _nines(logprobs: ArrayLike) -> tuple[float, float]:
    """Return -log10(1 - p), at most 5, of the mean and of the least probability; 0 of no tokens.

    >>> _nines(np.log([0.99, 0.99]))
    (2.0, 2.0)
    """
    p = np.exp(np.asarray(logprobs, dtype=np.float64))
    if not p.size:
        return 0.0, 0.0
    return tuple(round(-math.log10(max(1.0 - one, 1e-5)), 9) for one in (float(p.mean()), float(p.min())))  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a recorded chain shows of itself at its cues."""

    looks: Sequence[Look]
    right: Sequence[bool]  # whether the trial answer is right at each look
    probes: Sequence[int]  # tokens of each trial
    held: Sequence[int]  # tokens of each cue, which are given up where the rule stops
    full: bool  # whether the whole chain's answer is right
    spent: int  # tokens of the whole chain, its answer included


def trace_of(chain: RecordedChain, ends: Sequence[str], decode: Callable[[Sequence[int]], str]) -> Trace:
    """Return the trace of a recorded chain, as the rule sees it live.

    Cues inside longer words are passed, and trials end with the first token that completes one of `ends`.

    Raises:
        BadInput: log-probabilities were not recorded.
    """
    answers, looks, right = list[str | None](), list[Look](), list[bool]()
    probes, held = list[int](), list[int]()
    for point in chain.checkpoints:
        if not point.cue or "trial" not in point.replies or not _is_word(chain, point):
            continue
        trial = point.replies["trial"]
        size = answer_length(trial.tokens.ids.tolist(), ends, decode)
        told = trial.tokens[:size]
        if told.logprobs is None:
            raise BadInput("stop-value: the recording holds no log-probabilities. Record it anew.")
        entropy = told.entropy
        closed = trial.complete or size < len(trial.tokens)
        answers.append(trial.answer if closed else None)
        looks.append(
            Look(
                logprobs=told.logprobs, agreeing=agreeing(answers, same), at=point.at,
                entropy=math.nan if entropy is None or not len(entropy) else float(entropy.mean()),
            )
        )  # fmt: skip
        right.append(trial.verdict is Verdict.RIGHT)
        probes.append(size)
        ahead = chain.pieces[point.at :]
        held.append(next((n for n in range(1, len(ahead)) if point.cue in "".join(ahead[:n])), 1))
    return Trace(
        looks=looks, right=right, probes=probes, held=held, full=chain.verdict is Verdict.RIGHT,
        spent=len(chain.tokens),
    )  # fmt: skip


def answer_length(ids: Sequence[int], ends: Sequence[str], decode: Callable[[Sequence[int]], str]) -> int:
    """Return how many tokens a trial takes up to the one that ends its answer; all of them where none does.

    A brace that closes one of the answer's own does not end it.

    >>> answer_length([0, 1, 2, 3], ["}"], lambda ids: "".join(["2", "{3", "}}", " ok"][i] for i in ids))
    3
    """
    for size in range(1, len(ids) + 1):
        text = decode(ids[:size])
        for at, char in enumerate(text):
            found = any(text.startswith(end, at) for end in ends)
            if found and (char != "}" or text[:at].count("{") <= text[:at].count("}")):
                return size
    return len(ids)


def _is_word(chain: RecordedChain, point: Checkpoint) -> bool:
    before = chain.pieces[point.at - 1][-1:] if point.at else ""
    ahead, _, after = "".join(chain.pieces[point.at : point.at + 8]).partition(point.cue)
    inside = before.isalnum() and not ahead
    return not inside and not (point.cue[-1:].isalnum() and after[:1].isalnum())


def network_from(traces: Sequence[Trace], prices: Sequence[float] = PRICES) -> Network:
    """Return the network: for each price, `DATES` gains of stopping.

    Raises:
        BadInput: fewer than `LEAST` chains come to a cue.
    """
    chains = [trace for trace in traces if trace.looks]
    if len(chains) < LEAST:
        raise BadInput(f"stop-value: {len(chains)} chains come to a cue, and it takes {LEAST}. Record more problems.")
    width = features(chains[0].looks[:1]).size
    seen, may = np.zeros((len(chains), DATES, width)), np.zeros((len(chains), DATES), dtype=bool)
    now, held, tokens = (np.zeros((len(chains), DATES)) for _ in range(3))
    for row, trace in enumerate(chains):
        some = trace.looks[:DATES]
        ends = [*(look.at for look in some[1:]), trace.spent]
        asked = [*trace.probes[1 : len(some)], sum(trace.probes[DATES:])]  # later looks are paid for too
        for date, look in enumerate(some):
            seen[row, date] = features(some[: date + 1])
            may[row, date], now[row, date] = look.agreeing > 0, trace.right[date]
            held[row, date] = trace.held[date]
            tokens[row, date] = ends[date] - look.at + asked[date]
    known = seen[may]
    mean, scale = known.mean(axis=0), known.std(axis=0)
    scale[scale < 1e-9] = 1.0
    x = np.concatenate([(seen - mean) / scale, np.ones((*may.shape, 1))], axis=2)
    final = np.array([float(trace.full) for trace in chains])
    weights = np.concatenate(
        [
            gains_of_stopping(
                now - held * price / 1000, may, x, final, cost=tokens * price / 1000, ridge=RIDGE, least=LEAST
            )
            for price in prices
        ]
    ).T  # [d + 1, prices * dates]
    single = np.float32  # what the file holds, so that a rule decides alike before and after saving
    return Network(
        mean=mean.astype(single), scale=scale.astype(single), weights=(weights[:-1].astype(single),),
        biases=(weights[-1].astype(single),),
    )  # fmt: skip
