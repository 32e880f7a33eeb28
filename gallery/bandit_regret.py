"""# Which arm next? Regret of the textbook's bandits

A router that chooses between models, or a budget that chooses which question gets the next tokens, plays a bandit: it
learns what an arm pays only by pulling it. What it loses against always pulling the best arm is its regret. The page
plays explore-first, epsilon-greedy, successive elimination, UCB1 and Thompson sampling on three arms that pay with
probability 0.6, 0.4 and 0.3, and shows that the last three lose as log T while a constant share of exploring loses in
proportion to T ("Introduction to Multi-Armed Bandits", arXiv:1904.07272). In the product use a kept library (mabwiser);
this page is here to see the shapes.

The budget version: every pull of an arm also costs tokens, and play ends when the budget is gone. Then what counts is
reward per token (a bandit with one knapsack), and the arm that pays most per pull need not be the best.
"""

import altair as alt
import numpy as np

ARMS = np.array([0.6, 0.4, 0.3])
ROUNDS, RUNS = 10_000, 100


def play(choose, seed: int) -> np.ndarray:
    """Return the mean regret after each round `[ROUNDS]`, over `RUNS` games side by side."""
    rng = np.random.default_rng(seed)
    pulls, wins = np.zeros((RUNS, len(ARMS))), np.zeros((RUNS, len(ARMS)))
    regret = np.zeros(ROUNDS)
    rows = np.arange(RUNS)
    for t in range(ROUNDS):
        arm = np.full(RUNS, t) if t < len(ARMS) else choose(t, pulls, wins, rng)
        pulls[rows, arm] += 1
        wins[rows, arm] += rng.random(RUNS) < ARMS[arm]
        regret[t] = (ARMS.max() - ARMS[arm]).mean()
    return regret.cumsum()


def explore_first(t, pulls, wins, rng):
    """Try each arm (T / K)^(2/3) (log T)^(1/3) times, then keep the best."""
    n = (ROUNDS / len(ARMS)) ** (2 / 3) * np.log(ROUNDS) ** (1 / 3)
    return np.full(RUNS, t % len(ARMS)) if t < n * len(ARMS) else (wins / pulls).argmax(axis=1)


def epsilon_greedy(t, pulls, wins, rng):
    """One pull in ten at random, for ever."""
    return np.where(rng.random(RUNS) < 0.1, rng.integers(0, len(ARMS), RUNS), (wins / pulls).argmax(axis=1))


def elimination(t, pulls, wins, rng):
    """Pull in turn the arms whose bound reaches the best lower bound."""
    radius = np.sqrt(2 * np.log(ROUNDS) / pulls)
    alive = wins / pulls + radius >= (wins / pulls - radius).max(axis=1, keepdims=True)
    return np.where(alive, pulls, np.inf).argmin(axis=1)


def ucb1(t, pulls, wins, rng):
    """The arm whose mean plus sqrt(2 log t / n) is largest."""
    return (wins / pulls + np.sqrt(2 * np.log(t + 1) / pulls)).argmax(axis=1)


def thompson(t, pulls, wins, rng):
    """Draw each arm's mean from its Beta posterior, and pull the largest."""
    return rng.beta(wins + 1, pulls - wins + 1).argmax(axis=1)


PLAYERS = {f.__name__: f for f in (explore_first, epsilon_greedy, elimination, ucb1, thompson)}


def knapsack(per_token: bool, budget: int = 20_000, runs: int = 60, seed: int = 9) -> float:
    """Return the mean reward until the budget is gone: UCB on reward, or on reward per token."""
    rng, cost = np.random.default_rng(seed), np.array([100.0, 20.0, 20.0])  # the best arm is dear
    total = 0.0
    for _ in range(runs):
        left, pulls, wins = float(budget), np.ones(3), (rng.random(3) < ARMS).astype(float)
        while left > 0:
            bound = wins / pulls + np.sqrt(2 * np.log(pulls.sum()) / pulls)
            arm = int((bound / cost if per_token else bound).argmax())
            won = float(rng.random() < ARMS[arm])
            left, total = left - cost[arm], total + won
            pulls[arm] += 1
            wins[arm] += won
    return total / runs


def simulate() -> dict[str, float | np.ndarray]:
    """Play all of them, and the two with a budget."""
    curves = {name: play(choose, 0) for name, choose in PLAYERS.items()}
    late = np.arange(ROUNDS // 10, ROUNDS)
    slope = {
        f"slope_{name}": float(np.polyfit(np.log(late), np.log(curve[late]), 1)[0]) for name, curve in curves.items()
    }
    paid = {"reward_by_pull": knapsack(False), "reward_by_token": knapsack(True)}
    return {**curves, **{f"end_{n}": float(c[-1]) for n, c in curves.items()}, **slope, **paid}


def check(found: dict[str, float | np.ndarray]) -> None:
    """Logarithmic regret grows slower than any power; a constant share of exploring grows like T."""
    assert found["slope_epsilon_greedy"] > 0.8, found["slope_epsilon_greedy"]
    assert found["slope_ucb1"] < 0.6, found["slope_ucb1"]
    assert found["slope_thompson"] < 0.5, found["slope_thompson"]
    assert found["end_thompson"] < found["end_ucb1"]
    assert found["end_thompson"] < found["end_epsilon_greedy"]
    assert found["reward_by_token"] > 2 * found["reward_by_pull"]


def draw(found: dict[str, float | np.ndarray]) -> alt.Chart:
    """Regret over rounds."""
    rows = [
        {"round": t, "regret": float(found[name][t]), "player": name.replace("_", " ")}
        for name in PLAYERS
        for t in range(0, ROUNDS, 100)
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_line()
    return chart.encode(x="round:Q", y="regret:Q", color="player:N").properties(width=520)
