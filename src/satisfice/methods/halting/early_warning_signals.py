"""Warn of a collapse: stop when a curve recovers ever more slowly from its own fluctuations."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from satisfice.core.card import Card
from satisfice.core.fields import Range, check_fields
from satisfice.core.halter import GO_ON, Decision, Observation, State
from satisfice.methods.halting._curve import EMPTY, Floats, extended, points

Statistic = Literal["variance", "autocorrelation", "either"]


def detrended(values: ArrayLike, bandwidth: float) -> Floats:
    """Return values less their average under a Gaussian kernel, `[..., n]`; `bandwidth` is its sd as a share of n."""
    y = np.asarray(values, dtype=np.float64)
    n = y.shape[-1]
    steps = np.arange(n)
    kernel = np.exp(-0.5 * ((steps[:, None] - steps) / max(bandwidth * n, 1e-9)) ** 2)
    residuals = y - y @ (kernel / kernel.sum(axis=1, keepdims=True)).T
    rounding = 1e-12 * np.abs(y).max(axis=-1, keepdims=True, initial=0.0)
    return np.where(np.abs(residuals) > rounding, residuals, 0.0)  # a constant fluctuates by rounding alone


def rolling(residuals: ArrayLike, window: int) -> tuple[Floats, Floats]:
    """Return the variance and the lag-1 autocorrelation in each window, both `[..., n - window + 1]`.

    The autocorrelation of a window without variance is 0.
    """
    parts = np.lib.stride_tricks.sliding_window_view(np.asarray(residuals, dtype=np.float64), window, axis=-1)
    middle = parts - parts.mean(axis=-1, keepdims=True)
    squares = (middle**2).sum(axis=-1)
    products = (middle[..., 1:] * middle[..., :-1]).sum(axis=-1)
    return squares / (window - 1), np.divide(products, squares, out=np.zeros_like(squares), where=squares > 1e-24)


def kendall_trend(values: ArrayLike) -> Floats:
    """Return Kendall's tau of values against their order, `[..., n]` to `[...]`: 1 where they only rise.

    >>> kendall_trend([[1, 2, 4, 8], [4, 3, 2, 1], [1, 3, 2, 4]]).round(3).tolist()
    [1.0, -1.0, 0.667]
    """
    y = np.asarray(values, dtype=np.float64)
    n = y.shape[-1]
    total = np.zeros(y.shape[:-1])
    for lag in range(1, n):
        total += np.sign(y[..., lag:] - y[..., :-lag]).sum(axis=-1)
    return np.asarray(2 * total / (n * (n - 1)))


def surrogates(residuals: ArrayLike, count: int, seed: int = 0) -> Floats:
    """Return `[count, n]` series of an AR(1) process with the residuals' lag-1 autocorrelation and variance."""
    r = np.asarray(residuals, dtype=np.float64)
    spread = float(((r - r.mean()) ** 2).mean())
    _, phi = rolling(r, len(r))
    rho = float(np.clip(phi[0], -0.99, 0.99))
    noise = np.random.default_rng(seed).standard_normal((count, len(r))) * np.sqrt(spread)
    made = np.empty_like(noise)
    made[:, 0] = noise[:, 0]
    for step in range(1, len(r)):
        made[:, step] = rho * made[:, step - 1] + np.sqrt(1 - rho**2) * noise[:, step]
    return np.asarray(made)


def warning(
    values: ArrayLike, *, window: float = 0.5, bandwidth: float = 0.1, count: int = 200
) -> dict[Literal["variance", "autocorrelation"], tuple[float, float]]:
    """Return by statistic the trend (Kendall's tau) and the p-value of so strong a rise where nothing changes.

    Windows overlap, so the usual p-value of a Kendall test would be far too small: the trend is compared with those of
    surrogates, stationary AR(1) series that are detrended and windowed in the same way.
    """
    residuals = detrended(values, bandwidth)
    width = max(4, round(window * len(residuals)))
    trends = [kendall_trend(one) for one in rolling(residuals, width)]
    null = [kendall_trend(one) for one in rolling(detrended(surrogates(residuals, count), bandwidth), width)]
    (variance, correlation) = (
        (float(trend), float((1 + (other >= trend - 1e-12).sum()) / (1 + count)))
        for trend, other in zip(trends, null, strict=True)
    )
    return {"variance": variance, "autocorrelation": correlation}


@dataclass(frozen=True, kw_only=True)
class EarlyWarningSignals:
    """Warn of a collapse: stop when a metric recovers ever more slowly from its own fluctuations.

    Near a tipping point a system returns more slowly to where it was, so the variance and the lag-1 autocorrelation of
    its fluctuations rise. The curve is detrended with a Gaussian kernel, both statistics are computed in a rolling
    window, and their trend (Kendall's tau) is held against surrogates:

        stop if p(tau) < doubt,   p from stationary AR(1) series of the same length

    Not every collapse slows down first, and what slows down need not collapse, so expect false alarms. The test is
    made anew at every observation: over a whole run they are more frequent than `doubt`.
    """

    card: ClassVar = Card(
        id="early-warning-signals", system="early-warning-signals", paper="arXiv:1305.6700",
        where="critical slowing down; generic indicators", needs=frozenset(), fidelity="second-hand",
        ours=("doubt", "statistic", "least", "window", "bandwidth", "surrogates", "watch"),
    )  # fmt: skip

    doubt: Annotated[float, Range(0, 1)] = 0.05  # p-value below which a rise is a warning
    statistic: Statistic = "either"  # whose rise warns; either: the smaller p-value, doubled
    least: Annotated[int, Range(8)] = 20  # observations before the first test
    window: Annotated[float, Range(0.1, 0.9)] = 0.5  # of the rolling statistics, share of the observations
    bandwidth: Annotated[float, Range(0.01, 1)] = 0.1  # sd of the kernel that detrends, share of the observations
    surrogates: Annotated[int, Range(20)] = 200  # series that a trend is compared with
    watch: str = "accuracy"  # metric whose fluctuations are watched

    def __post_init__(self) -> None:
        check_fields(self)

    def init(self) -> State:
        return EMPTY

    def __call__(self, state: State, observation: Observation, /) -> tuple[State, Decision]:
        new = extended(state, observation, self.watch, self.card.id)
        _, values = points(new)
        if len(values) < self.least:
            return new, GO_ON
        found = warning(values, window=self.window, bandwidth=self.bandwidth, count=self.surrogates)
        p = min(1.0, 2 * min(p for _, p in found.values())) if self.statistic == "either" else found[self.statistic][1]
        metrics = {f"{name} trend": trend for name, (trend, _) in found.items()} | {"p": p}
        stop = p < self.doubt
        why = f"fluctuations of {self.watch} slow down (p = {p:.3f})" if stop else ""
        return new, Decision(stop=stop, why=why, metrics=metrics)
