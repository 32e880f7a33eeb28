"""# Heavy tails: priors for Thompson sampling

The time to a solution has a heavy tail: most chains are short and a few are endless. On rewards with a Pareto
distribution the usual noninformative priors make Thompson sampling lose a lot now and then, because a lucky start
freezes an arm ("Optimality of Thompson Sampling with Noninformative Priors for Pareto Bandits", arXiv:2302.01544).
Capping the estimate of the tail's exponent at n repairs the bad priors. The posterior under the prior alpha^-k / kappa:

    alpha ~ Gamma(n - k, rate n / alpha^),  alpha^ = n / sum log(x / min x);   kappa = min(x) U^(1 / (n alpha))
"""

import altair as alt
import numpy as np

ALPHA = np.array([1.3, 1.5])  # tail exponents: the first arm pays more, 1.3 / 0.3 against 1.5 / 0.5
MEANS = ALPHA / (ALPHA - 1)
ROUNDS, RUNS = 1_000, 200


def regret(k: int, truncated: bool, seed: int = 0) -> np.ndarray:
    """Return the regret of each of `RUNS` games after `ROUNDS` pulls, under the prior with this k."""
    rng = np.random.default_rng(seed)
    start = 2 if k < 2 else 3
    least, logs, n = np.full((RUNS, 2), np.inf), np.zeros((RUNS, 2)), np.zeros((RUNS, 2))
    lost = np.zeros(RUNS)
    rows = np.arange(RUNS)
    for t in range(ROUNDS):
        if t < 2 * start:
            arm = np.full(RUNS, t % 2)
        else:
            shape = n / np.maximum(logs - n * np.log(least), 1e-12)
            shape = np.minimum(shape, n) if truncated else shape
            alpha = rng.gamma(np.maximum(n - k, 0.5)) * shape / n
            kappa = least * rng.random((RUNS, 2)) ** (1 / np.maximum(n * alpha, 1e-9))
            mean = np.where(alpha > 1, alpha * kappa / np.maximum(alpha - 1, 1e-9), np.inf)  # an endless mean wins
            mean = np.where(np.isinf(mean), 1e9 / np.maximum(alpha, 1e-9), mean)
            arm = mean.argmax(axis=1)
        x = (1 - rng.random(RUNS)) ** (-1 / ALPHA[arm])
        least[rows, arm] = np.minimum(least[rows, arm], x)
        logs[rows, arm] += np.log(x)
        n[rows, arm] += 1
        lost += MEANS.max() - MEANS[arm]
    return lost


def simulate() -> dict[str, float | np.ndarray]:
    """Play all priors."""
    games = {f"k={k}{', truncated' if cut else ''}": regret(k, cut) for k in (0, 1, 2) for cut in (False, True)}
    tail = {f"95 % {name}": float(np.quantile(lost, 0.95)) for name, lost in games.items()}
    return {**games, **tail}


def check(found: dict[str, float | np.ndarray]) -> None:
    """Truncation helps the Jeffreys prior in the tail, and the prior with k = 2 does not need it."""
    assert found["95 % k=0, truncated"] < found["95 % k=0"], found
    assert found["95 % k=2"] < found["95 % k=0"], found


def draw(found: dict[str, float | np.ndarray]) -> alt.Chart:
    """The regret of single games."""
    rows = [
        {"prior": name, "regret": float(v)} for name, lost in found.items() if np.ndim(lost) for v in np.asarray(lost)
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_boxplot()
    return chart.encode(x="regret:Q", y="prior:N").properties(width=520)
