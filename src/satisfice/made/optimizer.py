"""Two optimisers of torch behind one handle: Muon for the weight matrices, AdamW for the rest.

On the pocket reasoner Muon reaches the same loss with fewer tokens than AdamW does, and a trainer takes one optimiser.
"""

from collections.abc import Callable
from typing import Any

import torch


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon on the two-dimensional weights between the layers, AdamW on embeddings and norms.

    Args:
        model: whose parameters to optimise.
        learning_rate: of Muon, scaled to the size of AdamW's updates; AdamW takes half of it.
        weight_decay: of both.
    """

    def __init__(self, model: torch.nn.Module, learning_rate: float, weight_decay: float) -> None:
        named = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
        matrices = [value for name, value in named if value.ndim == 2 and "embed" not in name]
        rest = [value for name, value in named if value.ndim != 2 or "embed" in name]
        super().__init__([{"params": matrices}, {"params": rest}], {"lr": learning_rate})
        self.muon = torch.optim.Muon(
            matrices, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        self.adamw = torch.optim.AdamW(rest, lr=learning_rate / 2, betas=(0.9, 0.98), weight_decay=weight_decay)
        self._link()

    def _link(self) -> None:
        # Schedules write into these dictionaries, so they have to be the ones that the two optimisers read.
        self.param_groups = self.muon.param_groups + self.adamw.param_groups

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = closure() if closure else None
        self.muon.step()
        self.adamw.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.muon.zero_grad(set_to_none)
        self.adamw.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self._link()
