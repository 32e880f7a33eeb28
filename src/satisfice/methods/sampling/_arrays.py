"""What filters do with scores, over numpy or torch: the few operations in which they differ, and cuts."""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from satisfice.core.arrays import Array, cast, is_torch, like, namespace
from satisfice.core.errors import BadInput

Parameter: TypeAlias = Any
"""A number for all rows, or an array `[batch]` with one for each."""

BLOCK = 32  # neighbouring scores that are looked at as one


def as_scores(logits: Array, method: str) -> tuple[Array, Array]:
    """Logits `[batch, vocab]` in float32 (float64 stays), and the largest of each row, `[batch, 1]`.

    Raises:
        BadInput: another shape, a row with NaN or +inf, or a row that is -inf throughout.
    """
    if logits.ndim != 2 or 0 in logits.shape:
        raise BadInput(f"{method}: logits must be [batch, vocab] with at least one row, got {list(logits.shape)}.")
    xp = namespace(logits)
    scores = cast(logits, xp.float64 if logits.dtype == xp.float64 else xp.float32)
    best = xp.amax(scores, axis=-1, keepdims=True)  # NaN wins every maximum, so the maxima tell it all
    of_rows = best[:, 0].tolist()
    if not all(map(math.isfinite, of_rows)):
        row, value = next((i, v) for i, v in enumerate(of_rows) if not math.isfinite(v))
        what = "no token left (all are -inf)" if value == -np.inf else "+inf" if value == np.inf else "NaN"
        raise BadInput(
            f"{method}: row {row} of the logits has {what}, so there is nothing to sample from. Look at what made it: "
            "a mask before this filter, or an overflow in half precision."
        )
    return scores, best


def small(x: Array) -> Array:
    """Return a tensor on the CPU as a numpy array: many steps over few numbers take a third of the time there."""
    return x.detach().numpy() if is_torch(x) and x.device.type == "cpu" else x


def rows(value: Parameter, like: Array) -> Array:
    """Return a parameter as `[batch, 1]` in float64 on the device of `like`, or `[1, 1]` if it is one number."""
    if is_torch(like):
        torch = namespace(like)
        given = torch.as_tensor(value, dtype=torch.float64, device=like.device)
    else:
        given = np.asarray(value, dtype=np.float64)
    if tuple(given.shape) not in ((), (like.shape[0],)):
        raise BadInput(f"a parameter is one number or [{like.shape[0]}], one for each row; got {list(given.shape)}.")
    return given.reshape(-1, 1)


def log(value: Array) -> Array:
    """Natural logarithm, -inf at 0 without a warning."""
    with np.errstate(divide="ignore"):
        return namespace(value).log(value)


def softmax(scores: Array, best: Array) -> Array:
    """Probabilities of each row; `best` is its largest score."""
    if is_torch(scores):
        return scores.softmax(-1)
    mass = np.exp(scores - best)
    return mass / mass.sum(-1, keepdims=True)


def masses(scores: Array, best: Array) -> tuple[Array, Array]:
    """`e_i = exp(z_i - z_max)` and `z_max - z_i`, the latter bounded so that their product is 0 where z_i is -inf."""
    xp = namespace(scores)
    below = xp.clip(best - scores, None, 800.0)  # exp(-800) is 0 in float64 too
    return xp.exp(-below), below


def entropy(mass: Array, spread: Array) -> Array:
    """Entropy in nats from `mass = sum e_i` and `spread = sum e_i (z_max - z_i)`: no terms of it cancel.

    H = spread / mass + ln mass
    """
    return spread / mass + namespace(mass).log(mass)


def total(weights: Array, factor: Array | None = None) -> Array:
    """Sum of each row, or of its product with `factor`, as `[batch, 1]` in float64.

    The plain sum is taken in float64: of a peaked row it is 1 and a little, and an entropy hangs on the little.
    """
    if is_torch(weights):
        torch = namespace(weights)
        if factor is None:
            return weights.sum(-1, keepdim=True, dtype=torch.float64)
        return torch.linalg.vecdot(weights, factor).double()[:, None]
    return np.sum(weights if factor is None else weights * factor, axis=-1, keepdims=True, dtype=np.float64)


def largest(scores: Array, count: int) -> Array:
    """Return the `count` largest scores of each row in descending order, `[batch, count]`."""
    if not is_torch(scores):
        return -np.sort(-np.partition(scores, -count, axis=-1)[:, -count:], axis=-1)
    blocks, rest = divmod(scores.shape[1], BLOCK)
    if blocks > 2 * count:  # all of them lie in the `count` blocks with the largest maxima, or in the rest of the row
        whole = scores[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK))
        inside = whole.amax(-1).topk(count, sorted=False).indices[:, :, None].expand(-1, -1, BLOCK)
        found = whole.gather(1, inside).flatten(1)
        scores = namespace(scores).cat([found, scores[:, -rest:]], 1) if rest else found
    return scores.topk(count).values


def nth_largest(scores: Array, count: Parameter) -> Array:
    """Return the `count`-th largest score of each row, `[batch, 1]`; the smallest one if there are fewer."""
    if isinstance(count, int):
        return largest(scores, min(max(count, 1), scores.shape[1]))[:, -1:]
    place = np.clip(np.asarray(count.cpu() if is_torch(count) else count), 1, scores.shape[1]).astype(np.int64)
    block = largest(scores, int(place.max()))
    return at(block, rows(place - 1, scores))


def at(values: Array, index: Array) -> Array:
    """`values[row, index[row]]` as `[batch, 1]`; `index` is `[batch, 1]` or `[1, 1]`."""
    if is_torch(values):
        return values.gather(1, index.long().expand(len(values), 1))
    return values[np.arange(len(values))[:, None], index.astype(np.int64)]


@dataclass(frozen=True)
class Kept:
    """Scores `[batch, vocab]` that are at least `floor` `[batch, 1]`; of those equal to it the first `ties` only.

    Told in this way, and not as a mask, they can be cut out in one pass.
    """

    scores: Array
    floor: Array
    ties: Array | None = None  # `[batch, 1]`; None: all of them

    def mask(self) -> Array:
        """Return which tokens stay: boolean, `[batch, vocab]`."""
        keep = reach(self.scores, self.floor)
        if self.ties is None:
            return keep
        equal = self.scores == self.floor
        return keep & (~equal | (namespace(equal).cumsum(equal, axis=-1) <= self.ties))

    def cut(self, logits: Array) -> Array:
        """Logits with -inf for every token that does not stay."""
        here = is_torch(logits) and logits.device.type == "cpu" and not logits.requires_grad
        if self.ties is not None or logits is not self.scores or not here:
            return cut(logits, self.mask())
        with np.errstate(over="ignore"):  # below the smallest number is -inf
            bars = np.nextafter(lowest(self.scores, self.floor).numpy(), np.float32(-np.inf)).ravel().tolist()
        threshold = namespace(logits).nn.functional.threshold_
        out = logits.clone()
        for row, bar in zip(out, bars * (len(out) // len(bars)), strict=True):
            threshold(row, bar, -math.inf)  # above the bar or -inf, in one pass: a tenth of a mask's time
        return out

    def at_least(self, count: Parameter) -> "Kept":
        """Keep also the `count` largest, and those equal to the last of them."""
        if isinstance(count, int) and count == 1:
            return self
        xp, floor = namespace(self.scores), lowest(self.scores, nth_largest(self.scores, count))
        ties = None if self.ties is None else xp.where(floor <= self.floor, self.scores.shape[1], self.ties)
        return Kept(self.scores, xp.minimum(self.floor, floor), ties)


def up_to(scores: Array, key: Array, count: Array, equal: Array) -> Kept:
    """Scores above `key`, and the first `count` of the `equal` that are equal to it, `[batch, 1]` each."""
    xp = namespace(key)
    if bool(((count > 0) & (count < equal)).any()):
        return Kept(scores, like(key, scores), like(count, scores))
    return Kept(scores, like(xp.where(count > 0, key, xp.nextafter(key, xp.full_like(key, xp.inf))), scores))


def cut(logits: Array, keep: Array) -> Array:
    """Logits with -inf for every token that a mask does not keep."""
    if is_torch(logits):
        return namespace(logits).where(keep, logits, -math.inf)  # twice as fast as masked_fill
    return np.where(keep, logits, logits.dtype.type(-math.inf))


def lowest(scores: Array, floor: Array) -> Array:
    """Return a floor that -inf never reaches."""
    xp = namespace(scores)
    return xp.clip(floor, xp.finfo(scores.dtype).min, None)


def reach(scores: Array, floor: Array) -> Array:
    """Return where scores are at least `floor` `[batch, 1]`, and not -inf: in one pass over them."""
    return scores >= lowest(scores, floor)


def at_least(keep: Array, keys: Array, count: Parameter) -> Array:
    """Keep also the `count` entries with the largest keys, and those equal to the last of them."""
    if isinstance(count, int) and count == 1:
        return keep
    return keep | reach(keys, nth_largest(keys, count))
