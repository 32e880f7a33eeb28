"""Stop at a cue once a probe on the model's hidden states is certain enough that the answer would be right."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.problem import Verdict
from satisfice.core.recorded import Records
from satisfice.core.session import Session
from satisfice.methods.stopping.artefact import Artefact, load_artefact, sigmoid
from satisfice.methods.stopping.learning import (
    Classifier,
    Fitted,
    auroc,
    both,
    collect,
    layers_of,
    points_of,
    probability,
    states,
    train_classifier,
)
from satisfice.methods.stopping.trial import think_to_cue

DELTAS = (0.01, 0.02, 0.05, 0.1, 0.2)  # at which a fit is measured


@dataclass(frozen=True, kw_only=True)
class Lynx:
    """Stop at a cue once a probe on the hidden states says that the answer would be right, at a conformal threshold.

    At every cue word the states of some layers at the word's last token go through a small network, p. From its scores
    on looks that it was not trained on, by class c with n_c looks, the k-th smallest of 1 - p(c | x) is

        q_c,   k = ceil((n_c + 1)(1 - delta)),     exit iff  p > q_wrong  and  p >= 1 - q_right

    If looks are exchangeable, the chance that it exits at a look where the answer would be wrong is at most `delta`.
    That is per look, not per chain: a chain has several. For a promise per chain see `satisfice calibrate threshold`.
    Reference code: https://github.com/farukakgul/LYNX.

    Differs from the code: where delta is smaller than 1/(n_wrong + 1) the promise is empty, and it is refused (the code
    takes the largest score); a class without a score is refused (there it never rules anything out); k is not raised by
    a rounding error of (n + 1)(1 - delta); cues are whole words of the profile's list, in thinking only (there any
    "hmm", "wait" or "alternatively" in whatever case, within words and in the answer too); the closing text is the
    profile's and the answer is sampled as any visible answer is (there `Final Answer:` with an open box, greedy). The
    code evaluates finished rollouts. Reading the state costs one probe token a look here. Quantiles and exits were held
    against the code's on 1,000 random sets of scores.
    """

    card: ClassVar = Card(
        id="lynx",
        paper="arXiv:2512.05325",
        where="events, probe and split conformal prediction, as in the authors' code",
        needs=frozenset({Need.FORK, Need.INJECT, Need.HIDDEN}),
        fidelity="code",
        system="lynx",
        ours=("delta",),
    )

    artefact: str = ""  # path of what `satisfice calibrate lynx` made
    delta: Annotated[float, Range(0.0001, 0.5)] = 0.05  # chance of a wrong exit at a look
    _learned: Artefact = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        learned = load_artefact(self.artefact, self.card.id)
        for name in ("wrong", "right"):
            if not learned.arrays.get(name, np.zeros(0)).size:
                raise BadInput(f"lynx: {self.artefact} has no calibration scores of looks that would be {name}.")
        least = math.ceil(1 / self.delta - 1e-9) - 1
        if (have := learned.arrays["wrong"].size) < least:
            raise BadInput(
                f"lynx: delta={self.delta} needs {least} calibration looks at which the answer would be wrong, and "
                f"{self.artefact} has {have}. Calibrate on more chains, or raise delta to {1 / (have + 1):.4f}."
            )
        object.__setattr__(self, "_learned", learned)

    async def __call__(self, session: Session) -> Chain:
        learned = self._learned
        learned.check_model(session.engine)
        q_wrong, q_right = conformal(learned.arrays["wrong"], learned.arrays["right"], self.delta)
        chain = session.chain()
        while await think_to_cue(chain):
            probe = chain.probe().inject(chain.held_text)
            state = (await probe.sample(1, signals=Signals(hidden=learned.layers), greedy=True)).hidden
            probe.drop()
            if not state:  # no token was left to look with
                break
            p = float(sigmoid(learned.network(np.concatenate([state[layer][0] for layer in learned.layers])))[0])
            stop = exits(p, q_wrong, q_right)
            chain.look("probability that the answer is right", p, threshold=max(q_wrong, 1 - q_right), stop=stop)
            if stop:
                return await chain.close_thinking()
        return await chain.finish()

    @staticmethod
    def fit(records: Records, classifier: Classifier, seed: int) -> Fitted:
        """Learn from the states at cues whether the answer would be right if the chain stopped before the cue."""
        layers = layers_of(records)
        found = collect(
            (states(point, layers, 1), point.replies["answer"].verdict is Verdict.RIGHT, chain.problem.id)
            for chain, point in points_of(records)
            if point.cue and point.hidden and "answer" in point.replies
            and point.replies["answer"].verdict is not Verdict.UNKNOWN
        )  # fmt: skip
        network = train_classifier(both(found, "train"), classifier, (256, 64), seed)
        held, test = both(found, "calibration"), both(found, "test")
        p = probability(network, held.x)
        arrays = {"wrong": np.sort(p[~held.y]), "right": np.sort(p[held.y])}
        measured = {**auroc(network, test), "delta": coverage(arrays, probability(network, test.x), test.y)}
        return Fitted(network=network, layers=layers, arrays=arrays, measured=measured)


def conformal(wrong: ArrayLike, right: ArrayLike, delta: float) -> tuple[float, float]:
    """The quantiles (q_wrong, q_right) of nonconformity, from p at looks that would be wrong and looks that are right.

    >>> wrong = [.05, .10, .15, .20, .30, .35, .40, .55, .60, .85]
    >>> right = [.45, .60, .70, .75, .80, .88, .90, .93, .95, .97, .99]
    >>> [round(q, 4) for q in conformal(wrong, right, 0.2)]
    [0.6, 0.4]
    """
    return quantile(np.asarray(wrong), delta), quantile(1 - np.asarray(right, dtype=np.float64), delta)


def quantile(scores: ArrayLike, delta: float) -> float:
    """Return the k-th smallest score, k = ceil((n + 1)(1 - delta)), but at most the largest."""
    ordered = np.sort(np.asarray(scores, dtype=np.float64))
    k = math.ceil((ordered.size + 1) * (1 - delta) - 1e-9)
    return float(ordered[min(max(k, 1), ordered.size) - 1])


def exits(p: float, q_wrong: float, q_right: float) -> bool:
    """Return whether "right" is the only class that p does not rule out."""
    return p > q_wrong and p >= 1 - q_right


def coverage(arrays: Mapping[str, NDArray[Any]], p: NDArray[Any], right: NDArray[Any]) -> list[dict[str, float]]:
    """How often the rule exits at looks that would be wrong (at most delta is promised) and right, at some delta."""
    rows = []
    for delta in DELTAS:
        q = conformal(arrays["wrong"], arrays["right"], delta)
        out = np.array([exits(float(one), *q) for one in p], dtype=bool)
        rows.append(
            {
                "delta": delta, "attainable": bool(delta >= 1 / (arrays["wrong"].size + 1)),
                "wrong": int((~right).sum()),
                "exits_if_wrong": float(out[~right].mean()), "exits_if_right": float(out[right].mean()),
            }
        )  # fmt: skip
    return rows
