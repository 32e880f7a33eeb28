"""Drawing tokens so that a row's draw depends on its own key and position alone."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

LOT = 1 << 18  # scores that are looked at in one go
LIKELIEST = 256  # tokens among which a nucleus is looked for first


def uniforms(keys: NDArray[np.uint64], positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return one number in [0, 1) for each (key, position): the finaliser of SplitMix64 over both.

    keys, positions: `[rows]`. The same pair always gives the same number, on any machine and in any batch.
    """
    with np.errstate(over="ignore"):
        x = keys + np.uint64(0x9E3779B97F4A7C15) * (positions.astype(np.uint64) + np.uint64(1))
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return np.asarray((x >> np.uint64(11)) * 2.0**-53, dtype=np.float64)


def draw(
    logits: torch.Tensor,
    temperature: torch.Tensor,
    top_p: torch.Tensor | None,
    chance: torch.Tensor,
    samplers: list[tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]],
) -> torch.Tensor:
    """Sample `[rows]` tokens from float32 `[rows, vocab]` scores by inverting each row's distribution at `chance`.

    `temperature` `[rows]`, 0 means greedy; `top_p` `[rows]` or None; `samplers` are pairs of row indices and a filter
    for these rows, applied after the temperature.
    """
    best = logits.argmax(-1)
    cold = temperature <= 0
    if bool(cold.all()):
        return best
    scores = logits / torch.where(cold, 1.0, temperature)[:, None]
    for rows, sampler in samplers:
        scores[rows] = sampler(scores[rows])
    # On a CPU a few rows at a time: memory for all of them would be asked of the system anew with every token.
    some = max(1, LOT // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    parts = [slice(at, at + some) for at in range(0, len(logits), some)]
    picked = torch.cat([_pick(scores[p], None if top_p is None else top_p[p], chance[p]) for p in parts])
    return torch.where(cold, best, picked)


def _pick(scores: torch.Tensor, top_p: torch.Tensor | None, chance: torch.Tensor) -> torch.Tensor:
    if top_p is not None:
        scores = nucleus(scores, top_p)
    mass = torch.softmax(scores, -1).cumsum(-1, dtype=torch.float64)
    picked = torch.searchsorted(mass, (chance * mass[:, -1])[:, None], right=True)[:, 0]
    return picked.clamp_(max=scores.shape[1] - 1)


def nucleus(scores: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Keep the smallest set of likeliest tokens with mass of at least `top_p` `[rows]`; the likeliest always stays.

    The filter `top-p` says the same over numpy and torch, with its source's ties and tolerance; here it is the engine's
    own, since a chain's tokens must not change with a filter, and looks among the likeliest first. `kernel.c` does it
    without torch. A test holds them to the same sets.
    """
    mass = torch.softmax(scores, -1)
    kept = torch.zeros_like(mass, dtype=torch.bool)
    rows = torch.arange(len(mass), device=mass.device)
    for most in (LIKELIEST, mass.shape[1]):  # to put a whole vocabulary in order can take as long as the model
        ordered, order = mass[rows].topk(min(most, mass.shape[1]))
        before = ordered.cumsum(-1) - ordered
        stay = before < top_p[rows, None]
        stay[:, 0] = True
        kept[rows] = kept[rows].scatter(1, order, stay)
        rows = rows[stay[:, -1]]  # these may keep more
        if not len(rows):
            break
    return scores.masked_fill(~kept, float("-inf"))
