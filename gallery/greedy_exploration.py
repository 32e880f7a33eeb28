"""# A greedy player that explores

Exploring is usually bought with a bonus. "Exploitation Is All You Need... for Exploration" says that a player who was
trained to be greedy over whole games explores by itself, if the same arms come back within a game and it can remember
what they paid: trying an arm once then pays for many pulls. Take the repetition or the memory away, and it stops.

The page computes the optimal player of a game with two Bernoulli arms (one known to pay 0.5, the other a coin with an
unknown bias) and n pulls, exactly, by backward induction on what it remembers. It tries the unknown arm although its
expected first pull is worth less, the longer the game the more so; with one pull, or without memory, never.
"""

from functools import lru_cache

import altair as alt

KNOWN = 0.5
PRIOR = (1.0, 1.3)  # Beta: the unknown arm pays 0.435 on average
GAMES = (1, 2, 3, 5, 8, 12, 20, 35, 60)


@lru_cache(None)
def value(left: int, wins: int, losses: int) -> float:
    """Return what the rest of the game is worth to a player who remembers the wins and losses of the unknown arm."""
    return 0.0 if left == 0 else max(known(left), unknown(left, wins, losses))


def known(left: int) -> float:
    """The known arm for the rest: nothing more is learned, so there is no way back."""
    return KNOWN * left


def unknown(left: int, wins: int, losses: int) -> float:
    """One pull of the unknown arm, and then the best."""
    a, b = PRIOR[0] + wins, PRIOR[1] + losses
    p = a / (a + b)
    return p * (1 + value(left - 1, wins + 1, losses)) + (1 - p) * value(left - 1, wins, losses + 1)


def explores(pulls: int, *, memory: bool) -> float:
    """Return by how much trying the unknown arm first is better than not, in rewards; below 0 it is not tried."""
    if memory:
        return unknown(pulls, 0, 0) - known(pulls)
    first = PRIOR[0] / sum(PRIOR)
    return (first - KNOWN) * pulls  # who forgets plays every pull as the first


def tried(pulls: int) -> float:
    """Return the expected number of pulls of the unknown arm in a game."""

    @lru_cache(None)
    def count(left: int, wins: int, losses: int) -> float:
        if left == 0 or unknown(left, wins, losses) <= known(left):
            return 0.0
        a, b = PRIOR[0] + wins, PRIOR[1] + losses
        p = a / (a + b)
        return 1 + p * count(left - 1, wins + 1, losses) + (1 - p) * count(left - 1, wins, losses + 1)

    return count(pulls, 0, 0)


def simulate() -> dict[str, float]:
    """What exploring is worth with memory and without, by the length of the game."""
    with_memory = {f"memory, {n} pulls": explores(n, memory=True) for n in GAMES}
    without = {f"none, {n} pulls": explores(n, memory=False) for n in GAMES}
    return {**with_memory, **without, "tries in 60 pulls": tried(60), "tries in 1 pull": tried(1)}


def check(found: dict[str, float]) -> None:
    """Greedy explores with repetition and memory, and only then."""
    assert found["memory, 1 pulls"] < 0
    assert found["memory, 60 pulls"] > 0
    assert all(found[f"none, {n} pulls"] < 0 for n in GAMES)
    assert found["tries in 1 pull"] == 0
    assert found["tries in 60 pulls"] > 10


def draw(found: dict[str, float]) -> alt.Chart:
    """What the first try is worth."""
    rows = [
        {"pulls in a game": n, "worth of exploring, per pull": found[f"{key}, {n} pulls"] / n, "player": name}
        for key, name in (("memory", "remembers"), ("none", "forgets"))
        for n in GAMES
    ]
    chart = alt.Chart(alt.Data(values=rows)).mark_line(point=True)
    return chart.encode(x="pulls in a game:Q", y="worth of exploring, per pull:Q", color="player:N").properties(
        width=520
    )
