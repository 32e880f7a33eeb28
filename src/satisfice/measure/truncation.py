"""Where to cut rollouts when early steps weigh more: the tightest estimate of a discounted return for a budget.

After "Truncating Trajectories in Monte Carlo Reinforcement Learning" (arXiv:2305.04361). With n_t trajectories alive at
step t the squared width of a confidence interval around the discounted return is about sum_t c_t / n_t; of all
schedules with sum_t n_t = budget that with n_t in proportion to sqrt(c_t) is narrowest. It needs a reward in every
step: where only the end is rewarded, as an answer is, a rollout that is cut carries no reward and the argument does
not apply.
"""

import numpy as np
from numpy.typing import NDArray

from satisfice.core.errors import BadInput

Floats = NDArray[np.float64]


def step_weights(gamma: float, steps: int) -> Floats:
    """Return what each step contributes to the squared width of the interval, `[steps]`.

        c_t = gamma^t (gamma^t + gamma^(t+1) - 2 gamma^T) / (1 - gamma),    2 (T - t) - 1 at gamma = 1

    >>> step_weights(1.0, 3).tolist()
    [5.0, 3.0, 1.0]
    """
    if not 0 < gamma <= 1 or steps < 1:
        raise BadInput(
            f"step_weights: gamma must be above 0 and at most 1, and steps at least 1; got {gamma}, {steps}."
        )
    powers = np.asarray(gamma ** np.arange(steps), dtype=np.float64)
    rest = np.cumsum(powers)[::-1]  # 1 + gamma + ... of the steps from t to the end
    return powers**2 * (2 * rest - 1)  # the formula, without its cancellation near gamma = 1


def alive(gamma: float, steps: int, budget: float) -> Floats:
    """Return how many trajectories should be alive at each step, `[steps]`, for a budget of steps in all.

    In proportion to sqrt(c_t), with at least one whole trajectory. Real numbers: round them as you need.

    >>> alive(1.0, 2, 10).round(3).tolist()  # weights 3 and 1
    [6.34, 3.66]

    Raises:
        BadInput: less budget than one whole trajectory takes.
    """
    if budget < steps:
        raise BadInput(f"alive: {budget} steps are less than one whole trajectory of {steps}. Give more, or cut it.")
    roots = np.sqrt(step_weights(gamma, steps))
    fixed = np.zeros(steps, dtype=bool)  # where one trajectory is more than the share would be
    while True:
        free = ~fixed
        n = np.where(fixed, 1.0, roots * (budget - fixed.sum()) / max(roots[free].sum(), 1e-300))
        low = free & (n < 1)
        if not low.any():
            return n
        fixed |= low


def width_factor(gamma: float, steps: int, numbers: Floats) -> float:
    """Return sqrt(sum_t c_t / n_t): what the width of the interval is in proportion to.

    >>> equal, best = np.full(20, 100.0), alive(0.9, 20, 2000)
    >>> round(width_factor(0.9, 20, best), 3), round(width_factor(0.9, 20, equal), 3)
    (0.711, 0.878)
    """
    return float(np.sqrt((step_weights(gamma, steps) / numbers).sum()))
