"""Ask a probe, before the first word, whether the model will get this right; if so, think for a short while only."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Signals
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.problem import Verdict
from satisfice.core.recorded import Records
from satisfice.core.session import Session
from satisfice.methods.stopping.artefact import Artefact, Network, load_artefact, sigmoid
from satisfice.methods.stopping.learning import (
    Classifier,
    Examples,
    Fitted,
    auroc,
    both,
    collect,
    layers_of,
    states,
    train_classifier,
)


@dataclass(frozen=True, kw_only=True)
class KnowingBeforeSaying:
    """Think for a short while only where a probe on the question says that the model will get it right.

    The hidden state of one layer at the last token of the prompt goes through a small network: p, the chance that the
    model's answer will be right. Where p > `threshold` thinking may take `short` tokens, else as long as it likes. With
    `every` the probe looks again every so many tokens, and thinking ends at the first look above the threshold; at the
    start it then decides nothing by itself.

    The paper studies the probe and what it knows when; using it as a gate is ours. It is trained on balanced classes,
    so p runs low where most answers are right: the threshold wants calibrating for the tasks at hand.
    """

    card: ClassVar = Card(
        id="knowing-before-saying",
        paper="arXiv:2505.24362",
        where="probe on the last prompt token, as in the authors' code; the gate is ours",
        needs=frozenset({Need.INJECT, Need.HIDDEN}),
        fidelity="reconstructed",
        system="cot-success-probe",
        ours=("threshold", "short", "every"),
    )

    artefact: str = ""  # path of what `satisfice calibrate knowing-before-saying` made
    threshold: Annotated[float, Range(0, 1)] = 0.7  # probability; strict
    short: Annotated[int, Range(1)] = 96  # thinking tokens where p is above it
    every: Annotated[int, Range(1)] | None = None  # thinking tokens between later looks; none: only at the start
    _learned: Artefact = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "_learned", load_artefact(self.artefact, self.card.id))

    async def __call__(self, session: Session) -> Chain:
        learned = self._learned
        learned.check_model(session.engine)
        chain = session.chain()
        pace = self.every or self.short
        # The state that predicts a token is read while that token is sampled, so a look costs nothing.
        while await chain.think(limit=1, signals=Signals(hidden=learned.layers)):
            if chain.last is None or not chain.last.ids:
                break
            state = np.concatenate([chain.last.hidden[layer][0] for layer in learned.layers])
            p = float(sigmoid(learned.network(state))[0])
            sure = p > self.threshold
            stop = sure and self.every is not None and len(chain) > 1
            chain.look("probability of success", p, threshold=self.threshold, stop=stop)
            if stop:
                return await chain.close_thinking()
            if self.every is None and not sure:
                break
            if not await chain.think(limit=pace - 1):
                break
            if self.every is None:
                chain.look("thinking tokens", len(chain), threshold=self.short, stop=True)
                return await chain.close_thinking()
        return await chain.finish()

    @staticmethod
    def fit(records: Records, classifier: Classifier, seed: int) -> Fitted:
        """Learn from the state before the first word whether the answer will be right; the layer that tells best."""
        best: tuple[float, Network, int, Examples] | None = None
        told: dict[str, float] = {}
        for layer in layers_of(records):
            found = collect(
                (states(chain.checkpoints[0], (layer,), 0), chain.verdict is Verdict.RIGHT, chain.problem.id)
                for chain in records.chains()
                if chain.checkpoints and chain.checkpoints[0].at == 0 and chain.checkpoints[0].hidden
                and chain.verdict is not Verdict.UNKNOWN
            )  # fmt: skip
            network = train_classifier(both(found, "train"), classifier, (256, 128, 64), seed)
            score = auroc(network, both(found, "calibration"))["auroc"]
            told[str(layer)] = score
            if best is None or score > best[0]:
                best = (score, network, layer, found)
        if best is None:
            raise BadInput("knowing-before-saying: no layer was recorded.")
        _, network, layer, found = best
        measured = {**auroc(network, both(found, "test")), "auroc_by_layer_calibration": told}
        return Fitted(network=network, layers=(layer,), measured=measured)
