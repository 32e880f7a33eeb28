"""# Learning from others who keep their signals private

People decide one after another, each from an own noisy signal and from what those before decided. Where everybody
reports truthfully, what the crowd knows grows ever more slowly: actions become predictable. In "Differentially Private
Sequential Learning" each flips its action with a probability that falls with the distance of its signal from the
threshold of its decision, 0.5 exp(-eps |s - t|). Close calls are blurred, clear ones are not, so an action against the
crowd says more: the log-likelihood grows like log n instead of sqrt(log n).

It saves no compute and nothing of ours uses it. It is here because it turns around a habit of stopping rules: noise at
the threshold need not cost information.
"""

import altair as alt
import numpy as np
from scipy.stats import norm

EPS, SIGMA = 0.7, 1.0
LONGEST = 100_000
GRID = np.linspace(-9, 9, 3_601)


def chances(t: float, private: bool) -> tuple[float, float]:
    """Return the probability to say "yes" when yes is true and when it is not, at a threshold t of the signal."""
    said = []
    for truth in (1.0, -1.0):
        plain = norm.sf(t, truth, SIGMA)
        if private:
            density = norm.pdf(GRID, truth, SIGMA)
            flip = 0.5 * np.exp(-EPS * np.abs(GRID - t))
            yes = np.where(t < GRID, 1 - flip, flip)
            plain = float((yes * density).sum() * (GRID[1] - GRID[0]))
        said.append(float(np.clip(plain, 1e-300, 1.0)))
    return said[0], said[1]


def crowd(private: bool) -> np.ndarray:
    """Return the public log-likelihood for the truth after each of `LONGEST` right actions."""
    level, path, known = 0.0, np.empty(LONGEST), {}
    for n in range(LONGEST):
        key = round(level, 2)  # the steps get tiny: a table of levels is enough
        if key not in known:
            yes, no = chances(-(SIGMA**2) * key / 2, private)
            known[key] = np.log(yes) - np.log(no)
        level += known[key]
        path[n] = level
    return path


def slope(t: float) -> float:
    """Return how fast the log-probability of an action changes with the signal, at most: what privacy bounds."""
    s = np.linspace(t + 0.5, t + 8, 200)
    flip = 0.5 * np.exp(-EPS * np.abs(s - t))
    return float(np.abs(np.diff(np.log(flip)) / np.diff(s)).max())


def simulate() -> dict[str, float | np.ndarray]:
    """Both crowds, and how they grow."""
    plain, private = crowd(False), crowd(True)
    late = np.geomspace(1_000, LONGEST, 30).astype(int) - 1
    logs = np.log(late + 1.0)
    power = {
        name: np.polyfit(np.log(logs), np.log(path[late]), 1)[0]
        for name, path in (("plain", plain), ("private", private))
    }
    return {
        "plain": plain, "private": private, "power_plain": float(power["plain"]),
        "power_private": float(power["private"]), "slope": slope(0.3),
    }  # fmt: skip


def check(found: dict[str, float | np.ndarray]) -> None:
    """Growth like (log n)^1 with smoothing and about (log n)^(1/2) without; privacy holds."""
    assert found["power_private"] > 0.75, found["power_private"]
    assert found["power_plain"] < 0.7, found["power_plain"]
    assert found["private"][-1] > found["plain"][-1]
    assert abs(found["slope"] - EPS) < 1e-6


def draw(found: dict[str, float | np.ndarray]) -> alt.Chart:
    """What the crowd knows over people."""
    rows = [
        {"people": int(n), "log-likelihood": float(found[name][n - 1]), "crowd": name}
        for name in ("plain", "private")
        for n in np.geomspace(1, LONGEST, 60).astype(int)
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_line()
    x = alt.X("people:Q", scale=alt.Scale(type="log"))
    return chart.encode(x=x, y="log-likelihood:Q", color="crowd:N").properties(width=520)
