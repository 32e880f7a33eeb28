"""Learning curves as they are expected before any is seen, and what observations make of that expectation, exactly.

A curve is y(t) = y0 + d g(t): it begins at y0 and changes by d until its horizon. Its shape g goes from 0 at t = 1 to
1 at t = `SCALE` and is a mix of three that learning curves are known to have; times are scaled so that every run ends
at `SCALE`. Observations add Gaussian noise. Given shape and noise the rest is linear and Gaussian, so over a fixed set
of shapes and noise levels, drawn once, the posterior is a finite mixture of normals and needs no sampling.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from satisfice.methods.halting._curve import Floats

SCALE = 100.0
MEAN = np.array([0.4, 0.25])  # of y0 and d: a metric from 0 to 1
SPREAD = np.array([0.3, 0.25])
NOISE = (np.log(0.01), 1.0)  # mean and sd of the log of the noise's sd
SHAPES = 2_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Shapes:
    """Shapes of curves and the noise on them, `[m]` each (`weights` is `[m, 3]`)."""

    weights: Floats  # of pow3, ilog2 and Janoschek
    alpha: Floats  # of pow3
    kappa: Floats  # of Janoschek
    delta: Floats  # of Janoschek
    noise: Floats  # standard deviation

    @classmethod
    def draw(cls, count: int, rng: np.random.Generator) -> Self:
        """Draw from the prior."""
        return cls(
            weights=rng.dirichlet(np.full(3, 0.5), count),
            alpha=np.exp(rng.uniform(np.log(0.05), np.log(3), count)),
            kappa=np.exp(rng.uniform(np.log(0.005), np.log(1), count)),
            delta=np.exp(rng.uniform(np.log(0.5), np.log(2), count)),
            noise=np.exp(NOISE[0] + NOISE[1] * rng.standard_normal(count)),
        )

    def at(self, share: ArrayLike) -> Floats:
        """Return g at shares of the horizon, `[n]` or `[m, n]` (above 0) to `[m, n]`."""
        x = np.atleast_2d(np.asarray(share, dtype=np.float64))
        return self._raw(x) / self._raw(np.ones((1, 1)))

    def _raw(self, x: Floats) -> Floats:
        t = 1 + (SCALE - 1) * x
        a, k, d = (values[:, None] for values in (self.alpha, self.kappa, self.delta))
        power, log, janoschek = (self.weights[:, [i]] for i in range(3))
        return np.asarray(
            power * (1 - t**-a) + log * (1 - 1 / np.log2(t + 1)) + janoschek * (1 - np.exp(-k * (t - 1) ** d))
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Mixture:
    """A mixture of normals: the predicted end of a curve."""

    weight: Floats  # [m]
    mean: Floats  # [m]
    sd: Floats  # [m]

    def above(self, value: float) -> float:
        """Return the probability of more than `value`."""
        from scipy.stats import norm

        return float(self.weight @ norm.sf(value, self.mean, self.sd))

    def quantile(self, share: float) -> float:
        """Return the value below which the end lies with this probability."""
        from scipy.optimize import brentq

        low, high = float((self.mean - 9 * self.sd).min()), float((self.mean + 9 * self.sd).max())
        return float(brentq(lambda value: 1 - self.above(value) - share, low, high, xtol=1e-7))


@lru_cache(1)
def shapes() -> Shapes:
    """Return the shapes that the prior consists of."""
    return Shapes.draw(SHAPES, np.random.default_rng(0))


def posterior(share: ArrayLike, value: ArrayLike) -> Mixture:
    """Return what observations say of the end of their curve: both `[n]`, where (shares of the horizon) and what.

    Without observations it is the prior.
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (share, value))
    prior = shapes()
    shape = prior.at(x) if len(x) else np.zeros((SHAPES, 0))
    precision = prior.noise**-2
    inverse = 1 / SPREAD**2
    a = precision * len(x) + inverse[0]
    b = precision * shape.sum(axis=1)
    c = precision * (shape**2).sum(axis=1) + inverse[1]
    left = precision * y.sum() + inverse[0] * MEAN[0]
    right = precision * (shape @ y) + inverse[1] * MEAN[1]
    det = a * c - b**2
    start, change = (c * left - b * right) / det, (a * right - b * left) / det
    evidence = 0.5 * (left * start + right * change) - 0.5 * precision * (y @ y)
    evidence += 0.5 * len(x) * np.log(precision) - 0.5 * np.log(det)
    weight = np.exp(evidence - evidence.max())
    return Mixture(weight=weight / weight.sum(), mean=start + change, sd=np.sqrt((a + c - 2 * b) / det))
