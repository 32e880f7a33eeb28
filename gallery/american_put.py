"""# Stopping a chain is an American option

An American put may be exercised at any time: it pays what the strike is above the price. When to take the money is a
stopping problem like ours: what is in hand now, against what waiting may bring. The classic answer is least-squares
Monte Carlo (Longstaff and Schwartz 2001): go backward in time, regress what was earned later on what can be seen now,
and exercise where the payoff in hand is above the fitted value of going on.

The page prices the textbook put (price 36, strike 40, interest 6 %, volatility 20 %, a year of 50 dates), worth 4.478
by finite differences. Then returns are made to depend on the last return: the last price no longer says everything,
and a rule that also looks one step back earns more on fresh paths. "Solving the optimal stopping problem with
reinforcement learning: an application in financial option exercise" does that with a network that reads the whole path.
"""

import altair as alt
import numpy as np

START, STRIKE, RATE, SIGMA, DATES = 36.0, 40.0, 0.06, 0.2, 50
STEP = 1 / DATES
DISCOUNT = np.exp(-RATE * STEP)


def paths(count: int, memory: float, seed: int) -> np.ndarray:
    """Prices `[count, DATES + 1]`; each return keeps `memory` of the surprise before it, at the same variance."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((count, DATES))
    surprise = np.empty_like(noise)
    surprise[:, 0] = noise[:, 0]
    for t in range(1, DATES):
        surprise[:, t] = memory * surprise[:, t - 1] + np.sqrt(1 - memory**2) * noise[:, t]
    returns = (RATE - SIGMA**2 / 2) * STEP + SIGMA * np.sqrt(STEP) * surprise
    return START * np.exp(np.concatenate([np.zeros((count, 1)), returns.cumsum(axis=1)], axis=1))


def basis(prices: np.ndarray, t: int, back: int) -> np.ndarray:
    """What is seen at a date: powers of the price and, `back` steps, of earlier returns with their products."""
    now = prices[:, t] / STRIKE
    seen = [np.ones_like(now), now, now**2, now**3]
    for lag in range(1, back + 1):
        change = prices[:, t - lag + 1] / prices[:, max(t - lag, 0)] - 1 if t >= lag else np.zeros_like(now)
        seen += [50 * change, (50 * change) ** 2, 50 * change * now]
    return np.stack(seen, axis=1)


def fit(prices: np.ndarray, back: int) -> list[np.ndarray | None]:
    """Return for each date the weights of what going on is worth; None where nothing is in the money."""
    value = np.maximum(STRIKE - prices[:, -1], 0)
    weights: list[np.ndarray | None] = [None] * (DATES + 1)
    for t in range(DATES - 1, 0, -1):
        value = value * DISCOUNT
        pays = np.maximum(STRIKE - prices[:, t], 0)
        inside = pays > 0
        if inside.sum() < 50:
            continue
        x = basis(prices[inside], t, back)
        w = np.linalg.lstsq(x, value[inside], rcond=None)[0]
        weights[t] = w
        value[inside] = np.where(pays[inside] >= x @ w, pays[inside], value[inside])
    return weights


def earned(prices: np.ndarray, weights: list[np.ndarray | None], back: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what each path pays under a fitted rule, today's money, and the date at which it stops."""
    value = np.maximum(STRIKE - prices[:, -1], 0) * DISCOUNT**DATES
    when = np.full(len(prices), DATES)
    for t in range(DATES - 1, 0, -1):
        if weights[t] is None:
            continue
        pays = np.maximum(STRIKE - prices[:, t], 0)
        stop = (pays > 0) & (pays >= basis(prices, t, back) @ weights[t])
        value, when = np.where(stop, pays * DISCOUNT**t, value), np.where(stop, t, when)
    return value, when


def simulate() -> dict[str, float | np.ndarray]:
    """Price the textbook put, and compare the two rules on paths with memory."""
    rule = fit(paths(40_000, 0.0, 0), 0)
    value, when = earned(paths(40_000, 0.0, 1), rule, 0)
    train, test = paths(20_000, 0.5, 2), paths(20_000, 0.5, 3)
    last, _ = earned(test, fit(train, 0), 0)
    back, _ = earned(test, fit(train, 1), 1)
    gain = back - last
    return {
        "price": float(value.mean()), "price_error": float(value.std() / np.sqrt(len(value))),
        "last_price_rule": float(last.mean()), "history_rule": float(back.mean()),
        "gain": float(gain.mean()), "gain_error": float(gain.std() / np.sqrt(len(gain))), "when": when,
    }  # fmt: skip


def check(found: dict[str, float | np.ndarray]) -> None:
    """The known price within its error, and history that pays."""
    assert abs(found["price"] - 4.478) < 4 * found["price_error"] + 0.02, found
    assert found["gain"] > 3 * found["gain_error"], found


def draw(found: dict[str, float | np.ndarray]) -> alt.Chart:
    """When the textbook put is exercised."""
    counts, edges = np.histogram(found["when"], bins=np.arange(0, DATES + 2))
    rows = [{"date": int(e), "share of paths": c / counts.sum()} for e, c in zip(edges, counts, strict=False)]
    return alt.Chart(alt.Data(values=rows)).mark_bar().encode(x="date:Q", y="share of paths:Q").properties(width=520)
