"""Leave out tokens that the model is sure are something else: noise, more often than not."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from satisfice.core.card import Card
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range, check_fields
from satisfice.core.token_loss import Floats


@dataclass(frozen=True, kw_only=True)
class Ent:
    """Leave out tokens whose error norm is large: the model is sure that something else belongs there.

        e = || p - onehot(y) ||_2,   weight 0 where e > threshold

    Or, with `fraction` in place of the threshold, those above the value at rank int(fraction n) of a batch, largest
    first; of equals none goes. A large loss alone also marks places where the model is merely unsure: there e is near
    1, so a threshold above 1 drops nothing early in a training. No more than `most` of a batch goes.

    Sources give no defaults: useful thresholds lie between about 1.2 and sqrt 2, useful fractions from 0.05 to 0.3. The
    mean still divides by all tokens, as in the authors' code, so the step shrinks with what is left out; their script
    for language models drops whole sequences instead. Tokens that are true and rare go too where a model is sure.
    """

    card: ClassVar = Card(
        id="ent",
        paper="arXiv:2310.00840",
        where="Sec. 3, error norm truncation; the authors' code for translation",
        needs=frozenset(),
        fidelity="second-hand",
        system="ent",
        ours=("threshold", "begin", "most"),
    )

    threshold: Annotated[float | None, Range(0, 1.4143)] = 1.3  # error norm; strict
    fraction: Annotated[float | None, Range(0, 1)] = None  # of each batch, in place of the threshold
    begin: Annotated[int, Range(0)] = 0  # updates before the first token is left out
    most: Annotated[float, Range(0, 1)] = 0.5  # share of a batch that may go

    def __post_init__(self) -> None:
        check_fields(self)
        if (self.threshold is None) == (self.fraction is None):
            raise BadInput("ent: give exactly one of threshold and fraction; the other is none.")

    def __call__(self, error: Floats, step: int) -> Floats:
        n = len(error)
        if step < self.begin or not n:
            return np.ones(n)
        largest = np.sort(error)[::-1]
        if self.fraction is not None:
            edge = float(largest[min(int(self.fraction * n), n - 1)])
        else:
            edge = float(self.threshold or 0.0)
        if self.most < 1:
            edge = max(edge, float(largest[int(self.most * n)]))
        return np.asarray(error <= edge, dtype=np.float64)
