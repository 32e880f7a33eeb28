"""Our rules and filters inside `generate` of transformers."""

import math
from typing import Any

import torch
from transformers import LogitsProcessor

from satisfice.core.engine import random_key
from satisfice.core.errors import BadInput
from satisfice.core.stepping import Stepping
from satisfice.methods.sampling.filter import Truncation
from satisfice.plugins.fitted import ModelWords, fit
from satisfice.plugins.steps import Asker, Steps


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


class Stop(LogitsProcessor):
    """Ends thinking by a stopping rule, as a logits processor of transformers.

        words = ModelWords(folder, model.config.vocab_size)
        model.generate(**inputs, do_sample=True, temperature=0.6, top_p=0.95,
                       logits_processor=[Stop(build("first-cue"), words, temperature=0.6, top_p=0.95)])

    It is made for one call of `generate`, and takes the sampling settings of that call (temperature 0 where it is
    greedy): a rule that stops before a cue has to know how likely one is. Beams are not supported.

    Raises:
        BadInput: the rule needs more than a sampler sees.
        Unfit: the model has no token that the rule looks for.
    """

    def __init__(
        self, rule: object, words: ModelWords, *, temperature: float, top_p: float = 1.0, top_k: int = 0, seed: int = 0
    ) -> None:
        if not isinstance(rule, Stepping):
            name = getattr(getattr(rule, "card", None), "id", repr(rule))
            raise BadInput(f"{name} needs more than a sampler sees, so it cannot run inside `generate`.")
        self._fitted, self._steps = fit(rule, words), Steps(words)
        self._sampling: dict[str, Any] = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        self._seed, self._outputs = seed, list[list[int]]()

    def __call__(self, input_ids: torch.LongTensor, scores: torch.Tensor) -> torch.Tensor:
        """Raw scores `[batch, vocab]`, changed where the rule wants something."""
        if not self._outputs:
            for row, prompt in enumerate(input_ids.tolist()):
                self._outputs.append([])
                asker = Asker(
                    fitted=self._fitted, output=self._outputs[row], prompt=prompt, key=random_key(self._seed, row),
                    **self._sampling,
                )  # fmt: skip
                self._steps.add(row, asker)
        else:
            for output, token in zip(self._outputs, input_ids[:, -1].tolist(), strict=True):
                output.append(token)
        return self._steps.apply(scores.clone())
