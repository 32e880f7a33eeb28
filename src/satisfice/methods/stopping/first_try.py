"""Stop after the first answers that the chain states: reflection mostly confirms them."""

import zlib
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.fields import Range, check_fields
from satisfice.core.problem import Verdict
from satisfice.core.recorded import RecordedChain, Records
from satisfice.core.session import Session
from satisfice.methods.stopping.artefact import Artefact, load_artefact, sigmoid
from satisfice.methods.stopping.learning import Classifier, Fitted, auroc, both, collect, train_classifier

NGRAMS = 2048  # buckets that the pieces of a question are counted in


@dataclass(frozen=True, kw_only=True)
class FirstTry:
    """Stop after the first step that states an answer, or the third where looking again may pay.

    A step that holds a candidate answer is counted (a repeated one too, as in the paper); thinking ends after the
    `first`-th. With an artefact a classifier that reads the question alone says how likely it is that looking again
    turns a wrong answer into a right one; above `threshold` the chain may go on to the `more`-th candidate.

    The paper's two classifiers are language models that we do not have: candidates are found by the profile's pattern,
    and the classifier of questions is a logistic regression on pieces of their text. Its thresholds are not published.
    """

    card: ClassVar = Card(
        id="first-try",
        paper="arXiv:2510.08308",
        where="question-aware early stopping, from a digest; both classifiers are stand-ins of ours",
        needs=frozenset({Need.INJECT}),
        fidelity="reconstructed",
        system="first-try-matters",
        ours=("threshold",),
    )

    first: Annotated[int, Range(1)] = 1  # candidate answers
    more: Annotated[int, Range(1)] = 3  # candidate answers where reflection may pay
    threshold: Annotated[float, Range(0, 1)] = 0.5  # probability that it pays; strict
    artefact: str = ""  # path of what `satisfice calibrate first-try` made; "": no question is one where it may pay
    _learned: Artefact | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        object.__setattr__(self, "_learned", load_artefact(self.artefact, self.card.id) if self.artefact else None)

    async def __call__(self, session: Session) -> Chain:
        profile = session.engine.profile
        allowed, chain = self.first, session.chain()
        if self._learned is not None:
            self._learned.check_model(session.engine)
            pays = float(sigmoid(self._learned.network(ngram_counts(session.problem.question)))[0])
            allowed = self.more if pays > self.threshold else self.first
            chain.look("chance that reflection pays", pays, threshold=self.threshold, stop=False)
        flags: list[bool] = []
        while await chain.think(until=(profile.step,)):
            found = profile.candidate.search(chain.last_text) is not None
            flags.append(found)
            if not await chain.think(limit=0):  # takes the delimiter of the step in
                break
            if found:
                stop = stop_after(flags, allowed) is not None
                chain.look("candidate answers", sum(flags), threshold=allowed, stop=stop)
                if stop:
                    return await chain.close_thinking()
        return await chain.finish()

    @staticmethod
    def fit(records: Records, classifier: Classifier, seed: int) -> Fitted:
        """Learn from questions whether their own chains ever repair a wrong candidate answer."""
        repaired: dict[str, bool] = {}
        questions: dict[str, str] = {}
        for chain in records.chains():
            questions[chain.problem.id] = chain.problem.question
            repaired[chain.problem.id] = repaired.get(chain.problem.id, False) or repairs(chain, records)
        found = collect((ngram_counts(questions[p]), repaired[p], p) for p in questions)
        network = train_classifier(both(found, "train"), "logistic", (), seed)
        return Fitted(network=network, measured=auroc(network, both(found, "test")))


def stop_after(flags: list[bool], allowed: int) -> int | None:
    """Return the number of the step, from 1, after which thinking ends; None when there are too few candidates.

    >>> flags = [False, False, True, False, True, True]
    >>> stop_after(flags, 1), stop_after(flags, 3), stop_after(flags, 4)
    (3, 6, None)
    """
    at = [step for step, found in enumerate(flags, 1) if found]
    return at[allowed - 1] if len(at) >= allowed else None


def ngram_counts(text: str) -> NDArray[np.float32]:
    """How often each piece of one to three characters occurs, digits all alike, in `NGRAMS` buckets; and the length.

    Of each number n it is log(1 + n), `[NGRAMS + 1]`.

    >>> ngram_counts("12 + 34").shape == (NGRAMS + 1,)
    True
    """
    counts = np.zeros(NGRAMS + 1, dtype=np.float32)
    alike = "".join("0" if char.isdigit() else char for char in text)
    for size in (1, 2, 3):
        for at in range(len(alike) - size + 1):
            counts[zlib.crc32(alike[at : at + size].encode()) % NGRAMS] += 1
    counts[NGRAMS] = len(text)
    return np.log1p(counts)


def repairs(chain: RecordedChain, records: Records) -> bool:
    """Whether a chain, after it has stated an answer, would be wrong if stopped at one place and right at a later."""
    wrong = False
    for point in chain.checkpoints:
        reply = point.replies.get("trial") or point.replies.get("answer")
        if reply is None or not records.profile.candidate.search("".join(chain.pieces[: point.at])):
            continue
        if wrong and reply.verdict is Verdict.RIGHT:
            return True
        wrong = wrong or reply.verdict is Verdict.WRONG
    return False
