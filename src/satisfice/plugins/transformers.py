"""Our filters inside `generate` of transformers."""

import math

import torch
from transformers import LogitsProcessor

from satisfice.methods.sampling.filter import Truncation


class Truncate(LogitsProcessor):
    """Our filters as a logits processor of transformers.

        model.generate(**inputs, do_sample=True, temperature=2.0, top_k=0,
                       logits_processor=[Truncate(Truncation(after=(TopNSigma(n=1),), temperature=2.0))])

    `generate` calls processors that it is given before it divides by the temperature. So the temperature is told to
    the truncation too, which measures on the tempered scores and cuts in the raw ones. transformers' own filters come
    later; turn off those that the generation config turns on (top_k=0, top_p=1).
    """

    def __init__(self, truncation: Truncation) -> None:
        self.truncation = truncation

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        """Raw scores `[batch, vocab]` with -inf where a filter cuts."""
        kept = self.truncation.process(scores)
        return scores.masked_fill(kept == -math.inf, -math.inf)
