"""# Why stopping early helps: a spectrum and a clock

In the wide limit a network trains like kernel regression with a fixed kernel ("Neural Tangent Kernel: Convergence and
Generalization in Neural Networks", arXiv:1806.07572). For linear models, such as the probes of stopping rules, that is
exact at any width: under gradient flow the residual along the i-th eigenvector of the kernel decays as

    exp(-eta lambda_i t)

so stopping at t keeps the directions with lambda_i above 1 / (eta t) and has not yet fitted the noise in the others.
The page trains a linear model on noisy labels and shows that the error on fresh data is least at a finite time, which
the spectrum predicts from the noise and the size of the signal, and that gradient descent follows the formula.
"""

import altair as alt
import numpy as np

N, D, NOISE, ETA = 120, 100, 1.0, 0.5
STEPS = np.unique(np.geomspace(1, 20_000, 60).astype(int))


def data(seed: int, n: int, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs with a falling spectrum, labels with noise, and the weights that made them."""
    rng = np.random.default_rng(seed)
    scale = np.arange(1, D + 1) ** -0.75
    x = rng.standard_normal((n, D)) * scale
    w = np.random.default_rng(99).standard_normal(D) if weights is None else weights
    return x, x @ w + NOISE * rng.standard_normal(n), w


def descended(x: np.ndarray, y: np.ndarray, steps: int) -> np.ndarray:
    """Return the weights after so many steps of gradient descent from 0."""
    w = np.zeros(D)
    for _ in range(steps):
        w -= ETA * x.T @ (x @ w - y) / len(y)
    return w


def by_spectrum(x: np.ndarray, y: np.ndarray, steps: int) -> np.ndarray:
    """Return the same weights in closed form: each direction has decayed by itself."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    shrunk = 1 - (1 - ETA * s**2 / len(y)) ** steps
    return vt.T @ (shrunk * (u.T @ y) / s)


def simulate() -> dict[str, float | np.ndarray]:
    """Train, look at fresh data at each time, and ask the spectrum for the best time."""
    x, y, w = data(0, N)
    fresh, _, _ = data(1, 5_000, w)
    errors = np.array([((fresh @ (by_spectrum(x, y, t) - w)) ** 2).mean() for t in STEPS])
    _, s, vt = np.linalg.svd(x, full_matrices=False)
    keep = (1 - ETA * s**2 / N) ** STEPS[:, None]  # of the signal that is not yet learned, [steps, D]
    scale = (vt * np.arange(1, D + 1) ** -0.75) ** 2  # what a direction matters on fresh data
    expected = (keep**2 + NOISE**2 * (1 - keep) ** 2 / s**2) @ scale.sum(axis=1)  # weights of variance 1
    gap = np.abs(descended(x, y, 300) - by_spectrum(x, y, 300)).max()
    return {
        "errors": errors, "best_step": float(STEPS[errors.argmin()]), "best": float(errors.min()),
        "predicted_step": float(STEPS[expected.argmin()]),
        "at_predicted": float(errors[expected.argmin()]), "trained_to_the_end": float(errors[-1]), "gap": float(gap),
    }  # fmt: skip


def check(found: dict[str, float | np.ndarray]) -> None:
    """The formula is gradient descent; stopping helps; the spectrum knows about when."""
    assert found["gap"] < 1e-9, found["gap"]
    assert found["trained_to_the_end"] > 2 * found["best"], found
    assert found["at_predicted"] < 1.25 * found["best"], found


def draw(found: dict[str, float | np.ndarray]) -> alt.Chart:
    """Error on fresh data over steps."""
    rows = [{"step": int(t), "error on fresh data": float(e)} for t, e in zip(STEPS, found["errors"], strict=True)]
    line = alt.Chart(alt.Data(values=rows)).mark_line()
    curve = line.encode(x=alt.X("step:Q", scale=alt.Scale(type="log")), y="error on fresh data:Q")
    when = (
        alt.Chart(alt.Data(values=[{"step": found["predicted_step"]}])).mark_rule(strokeDash=[4, 4]).encode(x="step:Q")
    )
    return (curve + when).properties(width=520)
