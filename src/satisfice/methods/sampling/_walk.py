"""Where a walk down a row in descending order must stop: what every rule that keeps a prefix is made of.

For numpy it is the definition itself, with a sort. For torch the row is never sorted. Mostly the walk ends among the
few largest, which are found by a partial selection. Where it does not, the row is summed into bins by its keys, the
sums tell the bin in which the walk stops, and only that bin is sorted. This is exact, takes a few passes over the row,
and does not care how flat it is.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from satisfice.core.arrays import Array, is_torch, namespace
from satisfice.methods.sampling._arrays import largest, masses

if TYPE_CHECKING:
    import torch

Stop = tuple[Array, Array, Array]
BINS = 1024
SPAN = 40.0  # nats below the largest key that the bins resolve; what lies further down shares the last bin
NEAR = 256  # so many of the largest are tried first
TOLERANCE = 5e-7  # relative: a bound that float32 cannot tell from being met counts as met


def descend(
    scores: Array, best: Array, mass: Array, crossed: Callable[..., Array], *, below: Array | None = None
) -> Stop:
    """Return where a walk down the scores first meets a condition on what it has collected.

    `mass` `[batch, vocab]` is `e_i = exp(z_i - z_max)` and `below`, if given, `z_max - z_i`. `crossed(mass)` or, with
    `below`, `crossed(mass, spread)` tells it for totals `[batch, n]` in float64 of e_i and of `e_i (z_max - z_i)`;
    having held once it must go on to hold. What is returned is told at `walk`.
    """

    def weights() -> tuple[Array, ...]:
        return (mass,) if below is None else (mass, mass * below)

    if not is_torch(scores) or scores.shape[1] <= 8 * NEAR:
        return walk(scores, weights(), crossed)
    torch = namespace(scores)
    block = largest(scores, NEAR)
    fine, depth = masses(block.double(), best.double())
    met = crossed(*(part.cumsum(-1) for part in (fine, fine * depth)[: 1 if below is None else 2]))
    done = met.any(-1, keepdim=True)
    key, count, equal = _place(block, met)
    near = key, count, torch.where(block[:, -1:] < key, equal, scores.shape[1])  # else more of them may lie outside
    if bool(done.all()):
        return near
    key, count, equal = (
        torch.where(done, a, b) for a, b in zip(near, walk(scores, weights(), crossed), strict=True)
    )  # fmt: skip
    return key, count, equal


def walk(keys: Array, weights: tuple[Array, ...], crossed: Callable[..., Array]) -> Stop:
    """Return where a walk down the keys first meets a condition.

    `keys` `[batch, vocab]` are visited from the largest down, equal ones by their index; `weights` are summed on the
    way. `crossed(*totals)` tells for totals `[batch, n]` (float64) where the condition holds; having held once it must
    go on to hold. Entries with key -inf must weigh nothing.

    Returns the key at which it first holds, how many entries with this very key were visited by then, and how many
    there are at most, `[batch, 1]` each; -inf and 0 where it never holds.
    """
    return (_bins if is_torch(keys) else _sort)(keys, weights, crossed)


def _sort(keys: Array, weights: tuple[Array, ...], crossed: Callable[..., Array]) -> Stop:
    order = np.argsort(-keys, axis=-1, kind="stable")
    ordered = np.take_along_axis(keys, order, axis=-1)
    sums = [np.cumsum(np.take_along_axis(w, order, axis=-1), axis=-1, dtype=np.float64) for w in weights]
    met = crossed(*sums) & (ordered > -np.inf)
    place = met.argmax(-1)[:, None]
    key = np.take_along_axis(ordered, place, axis=-1)
    count = place + 1 - (ordered > key).sum(-1, keepdims=True)
    equal = (ordered == key).sum(-1, keepdims=True)
    never = ~met.any(-1, keepdims=True)
    return np.where(never, -np.inf, key).astype(keys.dtype), np.where(never, 0, count), equal


def _place(ordered: "torch.Tensor", met: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """Find in each row the first place that meets the condition, else the last place.

    Returns three columns: the key there, how many keys up to there equal it, and how many in the whole row do.
    """
    import torch

    there = torch.arange(ordered.shape[1], device=ordered.device)
    place = torch.where(met & (ordered > -torch.inf), there, ordered.shape[1] - 1).amin(-1, keepdim=True)
    key = ordered.gather(1, place)
    count, equal = place + 1 - (ordered > key).sum(-1, keepdim=True), (ordered == key).sum(-1, keepdim=True)
    return key, count, equal


def _bins(
    keys: "torch.Tensor", weights: "tuple[torch.Tensor, ...]", crossed: "Callable[..., torch.Tensor]"
) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    import torch

    high, low = keys.amax(-1, keepdim=True), keys.amin(-1, keepdim=True)
    step = ((high - low).clamp(max=SPAN) / BINS).clamp(min=1e-30)
    bins = ((high - keys) / step).clamp_(max=BINS - 1).long()  # monotone, so equal keys share a bin
    empty = keys.new_zeros(len(keys), BINS)
    sums = [empty.scatter_add(1, bins, weight).double().cumsum(-1) for weight in weights]
    met = crossed(*sums)
    never = ~met.any(-1, keepdim=True)
    stop = met.to(torch.int8).argmax(-1, keepdim=True)
    inside = bins == stop
    counts = inside.sum(-1)
    row, token = inside.nonzero(as_tuple=True)
    place = torch.arange(len(row), device=keys.device) - (counts.cumsum(0) - counts)[row]
    shape = (len(keys), int(counts.max()))
    dense = keys.new_full(shape, -torch.inf).index_put_((row, place), keys[row, token])
    ordered, order = dense.sort(dim=-1, descending=True, stable=True)
    fine = []
    for coarse, weight in zip(sums, weights, strict=True):
        part = coarse.new_zeros(shape).index_put_((row, place), weight[row, token].double())
        before = torch.where(stop > 0, coarse.gather(1, (stop - 1).clamp(min=0)), 0.0)
        fine.append(before + part.gather(1, order).cumsum(-1))
    end = torch.arange(shape[1], device=keys.device) == counts[:, None] - 1  # where the two sums round apart
    key, count, equal = _place(ordered, crossed(*fine) | end)
    gone = never | (key == -torch.inf)
    return torch.where(gone, -torch.inf, key), torch.where(gone, 0, count), equal
