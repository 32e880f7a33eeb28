"""# Do not size a probe at its number of traces

A value head or a stopping probe is fitted on the states that were seen. With as many random features as states the fit
is nearly singular and its error peaks; with fewer or many more it is small again, and a little ridge removes the peak
("On Double Descent in Reinforcement Learning with LSTD and Random Features", arXiv:2310.05518). The page fits values of
a process with 60 states, of which 30 are visited, by regularised least-squares temporal differences:

    theta = (Phi^T (Phi - gamma Phi') + lambda n I)^-1 Phi^T r,   Phi = relu(x W) / sqrt(N)
"""

import altair as alt
import numpy as np

STATES, VISITED, GAMMA = 60, 30, 0.9
SIZES = (5, 10, 20, 25, 30, 35, 45, 60, 100, 200, 300)
RIDGES = (1e-6, 1e-2)
TIMES = 30


def error(size: int, ridge: float, seed: int) -> float:
    """Return the mean squared Bellman error over all states of values fitted on the visited ones."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((STATES, 8))
    moves = rng.dirichlet(np.full(STATES, 0.1), STATES)
    reward = np.tanh(x[:, 0]) + 0.5 * x[:, 1]
    phi = np.maximum(x @ rng.standard_normal((8, size)), 0) / np.sqrt(size)
    seen = rng.permutation(STATES)[:VISITED]
    after = moves @ phi
    a = phi[seen].T @ (phi[seen] - GAMMA * after[seen]) + ridge * VISITED * np.eye(size)
    theta = np.linalg.solve(a, phi[seen].T @ reward[seen])
    return float(((reward + GAMMA * after @ theta - phi @ theta) ** 2).mean())


def simulate() -> dict[str, float | dict[int, float]]:
    """The median error over processes, by size and ridge."""
    curves = {
        ridge: {size: float(np.median([error(size, ridge, s) for s in range(TIMES)])) for size in SIZES}
        for ridge in RIDGES
    }
    small, large = (curves[ridge] for ridge in RIDGES)
    return {
        "no ridge": small, "ridge": large, "few features": small[5], "at the peak": max(small.values()),
        "size at the peak": max(small, key=small.__getitem__), "many features": small[300],
        "peak with ridge": max(large.values()),
    }  # fmt: skip


def check(found: dict[str, float | dict[int, float]]) -> None:
    """The peak is where features equal visited states, and the ridge removes it."""
    assert 25 <= found["size at the peak"] <= 45, found
    assert found["at the peak"] > 5 * found["many features"], found
    assert found["peak with ridge"] < found["at the peak"] / 5, found


def draw(found: dict[str, float | dict[int, float]]) -> alt.Chart:
    """Error over the number of features."""
    rows = [{"features": n, "error": e, "fit": name} for name in ("no ridge", "ridge") for n, e in found[name].items()]
    chart = alt.Chart(alt.Data(values=rows)).mark_line(point=True)
    log = alt.Scale(type="log")
    return chart.encode(x=alt.X("features:Q", scale=log), y=alt.Y("error:Q", scale=log), color="fit:N").properties(
        width=520
    )
