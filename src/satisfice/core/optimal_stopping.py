"""When to stop for the most: values of going on by least squares on recorded paths, backward in time; pure.

The least-squares Monte Carlo of Longstaff and Schwartz (2001, doi:10.1093/rfs/14.1.113). At each date, the last first,
what each path earned by going on is known; its regression on what could be seen then is what going on is worth.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def gains_of_stopping(
    now: ArrayLike, may: ArrayLike, seen: ArrayLike, final: ArrayLike, *, cost: ArrayLike = 0.0,
    discount: float = 1.0, ridge: float = 0.0, least: int = 1,
) -> Floats:  # fmt: skip
    """Return weights `[dates, d]` of the gain of stopping over going on: stop at date t where `seen[t] @ w[t] >= 0`.

    With X_t what is seen, Z_t what stopping pays and V_t what a path earns by going on from t,

        V_t = discount * (Z_(t+1) if it stops there else V_(t+1)) - cost_t,    w_t = argmin |Z_t - V_t - X_t w|^2

    over the paths that may stop at t; after the last date a path earns `final`. For an option with its price among what
    is seen this is the regression of V alone.

    Args:
        now: `[paths, dates]`, what a path is paid where it stops.
        may: `[paths, dates]`, whether it is there and may stop. Paths that may not have no part in the regression.
        seen: `[paths, dates, d]`, what is known at each date; a constant among it is not added.
        final: `[paths]`, what a path earns that never stops.
        cost: `[paths, dates]` or a number, of going on from a date to the next.
        discount: of what comes one date later.
        ridge: weight of the squares of w in the regression, per path.
        least: paths that a regression takes; a date with fewer takes the weights of the date before it (in time), and
            no path stops there while they are fitted.
    """
    paid, allowed, x = np.asarray(now, dtype=float), np.asarray(may, dtype=bool), np.asarray(seen, dtype=float)
    costs = np.broadcast_to(np.asarray(cost, dtype=float), paid.shape)
    value = np.asarray(final, dtype=float).copy()
    dates, width = x.shape[1:]
    weights, fitted = np.zeros((dates, width)), np.zeros(dates, dtype=bool)
    for date in reversed(range(dates)):
        value = discount * value - costs[:, date]
        mine = np.flatnonzero(allowed[:, date])
        if mine.size < max(least, 1):
            continue
        here, gain = x[mine, date], paid[mine, date] - value[mine]
        if ridge:
            square = here.T @ here + ridge * mine.size * np.eye(width)
            weights[date] = np.linalg.solve(square, here.T @ gain)
        else:
            weights[date] = np.linalg.lstsq(here, gain, rcond=None)[0]
        fitted[date] = True
        stops = mine[here @ weights[date] >= 0]
        value[stops] = paid[stops, date]
    known = np.flatnonzero(fitted)
    for date in np.flatnonzero(~fitted).tolist():
        before = known[known < date]
        if before.size:
            weights[date] = weights[before[-1]]
    return weights


def stopped_at(seen: ArrayLike, may: ArrayLike, weights: ArrayLike, margin: float = 0.0) -> NDArray[np.int64]:
    """Return `[paths]`: the first date at which the gain of stopping is at least `margin`; -1 where there is none."""
    gains = np.einsum("pdk,dk->pd", np.asarray(seen, dtype=float), np.asarray(weights, dtype=float))
    stops = np.asarray(may, dtype=bool) & (gains >= margin)
    return np.where(stops.any(axis=1), stops.argmax(axis=1), -1)
