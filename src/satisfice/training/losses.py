"""Losses and gradients that make it matter less when a training is stopped.

*StableMax* and the *orthogonal gradient* ("Grokking at the Edge of Numerical Stability", arXiv:2501.04697): once every
training example is right, the softmax loss falls by scaling the logits up until rounding makes its gradients zero, and
what the model would still have learned it never learns. *Early-learning regularisation* (arXiv:2007.00151): a model
fits clean labels first and wrong ones later; keeping close to what it said early makes stopping in time unnecessary.

They are for plain supervised training (`SFTTrainer(compute_loss_func=...)`, a classifier), and belong to no shaper.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from satisfice.core.errors import BadInput

TINY = 1e-30
NEARLY_PARALLEL = 1e-6  # of the gradient's norm: what is left of it is rounding


def log_stablemax(logits: Tensor) -> Tensor:
    """Return log StableMax over the last dimension, in float64: softmax without its exponential.

        s(x) = x + 1 for x >= 0, 1 / (1 - x) for x < 0;   StableMax_i = s(z_i) / sum_j s(z_j)

    Computed as log-softmax of sign(z) log(1 + |z|), which is the same.
    """
    z = logits.double()
    return torch.log_softmax(torch.sign(z) * torch.log1p(z.abs()), dim=-1)


def stablemax_loss(logits: Tensor, target: Tensor, *, ignored: int = -100) -> Tensor:
    """Return the mean of -log StableMax at the targets: logits `[..., classes]`, targets `[...]`.

    Its values cannot be compared with those of the softmax loss; perplexities are others.
    """
    logs = log_stablemax(logits)
    return functional.nll_loss(logs.reshape(-1, logs.shape[-1]), target.reshape(-1), ignore_index=ignored)


def orthogonal_gradient(
    parameters: Iterable[torch.nn.Parameter], *, rescale: bool = True, scope: Literal["tensor", "global"] = "tensor"
) -> None:
    """Take out of the gradients what points along the weights, in place: call it before the optimiser's step.

        g_perp = g - (w . g) / (w . w) w,   rescaled to the norm of g

    By tensor and rescaled as in the authors' code; the paper's equation has one vector of all weights and does not
    rescale. Where nearly all of a gradient points along the weights, what is left is rounding and is not rescaled.
    """
    some = [p for p in parameters if p.grad is not None]
    if scope not in ("tensor", "global"):
        raise BadInput(f"orthogonal_gradient: scope must be tensor or global, got {scope!r}.")
    with torch.no_grad():
        groups = [[p] for p in some] if scope == "tensor" else [some] if some else []
        for group in groups:
            w = torch.cat([p.detach().flatten() for p in group])
            g = torch.cat([p.grad.flatten() for p in group if p.grad is not None])
            left = g - (w @ g) / (w @ w + TINY) * w
            norm, rest = g.norm(), left.norm()
            if rescale and rest > NEARLY_PARALLEL * norm:
                left = left * (norm / (rest + TINY))
            begin = 0
            for p in group:
                p.grad = left[begin : begin + p.numel()].view_as(p).clone()
                begin += p.numel()


@dataclass(kw_only=True)
class EarlyLearning:
    """Cross-entropy with early-learning regularisation, over examples that keep their numbers from epoch to epoch.

        p = clamp(softmax(z)),   t_i <- beta t_i + (1 - beta) p / sum(p),   loss = CE + weight mean log(1 - <t_i, p_i>)

    `t_i` are running averages of what the model said of example i; gradients flow through p alone. The defaults are
    those of the authors' code for CIFAR-10 with symmetric noise. It remembers examples x classes numbers.
    """

    examples: int
    classes: int
    beta: float = 0.7  # share of the old average
    weight: float = 3.0  # lambda
    clamp: float = 1e-4  # probabilities are kept this far from 0 and 1

    def __post_init__(self) -> None:
        if not (0 <= self.beta < 1 and self.weight >= 0 and 0 < self.clamp < 0.5):
            raise BadInput(
                f"EarlyLearning: beta must be from 0 to below 1, weight at least 0 and clamp between 0 and 0.5; got "
                f"{self.beta}, {self.weight}, {self.clamp}."
            )
        self.target = torch.zeros(self.examples, self.classes)

    def __call__(self, logits: Tensor, label: Tensor, index: Tensor) -> Tensor:
        """Return the loss of a batch: logits `[n, classes]`, labels `[n]`, numbers of the examples `[n]`."""
        p = torch.softmax(logits, dim=-1).clamp(self.clamp, 1 - self.clamp)
        with torch.no_grad():
            said = p / p.sum(dim=-1, keepdim=True)
            self.target = self.target.to(p.device)
            self.target[index] = self.beta * self.target[index] + (1 - self.beta) * said
        agreement = (self.target[index] * p).sum(dim=-1)
        return functional.cross_entropy(logits, label) + self.weight * torch.log(1 - agreement).mean()
