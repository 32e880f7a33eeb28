"""Look before a training begins: can it learn anything at all? And watch whether it still does."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from satisfice.core.errors import Unfit
from satisfice.core.rollouts import Rollouts
from satisfice.core.shaper import Shaper, State

HOPELESS = 0.9  # share of rollouts that the limit ends, from which on a training is refused
WINDOW = 5  # steps that an alarm averages over
LARGE = 10.0  # advantage beyond which a few tokens decide the update
WATCHED = {
    "accuracy": "rollouts/accuracy",
    "length": "rollouts/length",
    "entropy": "loss/entropy",
    "clip_share": "loss/clip_share",
    "truncated": "rollouts/truncated",
    "largest_advantage": "shaping/largest_advantage",
}
"""Figures of a step that alarms look at."""


def examine(batch: Rollouts) -> dict[str, Any]:
    """Return what the untrained model does on some of the problems: figures for the card, JSON-able."""
    groups, first = batch.groups, batch.groups.first
    some, every = groups.any(batch.correct)[first], groups.all(batch.correct)[first]
    low, middle, high = np.quantile(batch.length, (0.1, 0.5, 0.9))
    return {
        "problems": groups.count,
        "rollouts": len(batch),
        "accuracy": float(batch.correct.mean()),
        "solved_by_any": float(some.mean()),
        "solved_by_all": float(every.mean()),
        "truncated": float(batch.truncated.mean()),
        "length_mean": float(batch.length.mean()),
        "length_p10": float(low),
        "length_p50": float(middle),
        "length_p90": float(high),
    }


def check_hope(batch: Rollouts, shaper: Shaper, state: State, limit: int) -> list[str]:
    """Refuse a training that cannot work, from rollouts of the untrained model; what is merely odd is returned.

    Raises:
        Unfit: the limit ends nearly every rollout, no problem is ever solved, or the method tells no rollout from
            another.
    """
    seen, name = examine(batch), shaper.card.id
    if seen["truncated"] >= HOPELESS:
        raise Unfit(
            f"{seen['truncated']:.0%} of the rollouts run into the limit of {limit} tokens or a smaller cap of "
            f"{name}, so hardly one has an answer. Raise --max-tokens, or the caps of the method."
        )
    if seen["solved_by_any"] == 0:
        raise Unfit(
            f"not one of {seen['problems']} problems is solved in {seen['rollouts']} rollouts: there is nothing right "
            "to prefer. Take easier tasks, more rollouts per problem (--group), or a better model."
        )
    shaped = shaper(batch, state)
    felt = (np.abs(shaped.advantage.reshape(len(batch), -1)).max(axis=1) > 1e-9) & shaped.keep
    if not felt.any():
        raise Unfit(
            f"{name} has nothing to say about {len(batch)} rollouts: {seen['solved_by_all']:.0%} of the problems are "
            f"always solved, {1 - seen['solved_by_any']:.0%} never. Take tasks that are solved now and then, or a "
            "method that presses on length where all are right."
        )
    notes = []
    if (most := shaped.metrics.get("largest_advantage", 0.0)) > LARGE:
        notes.append(large_advantages(most))
    if felt.mean() < 0.1:
        notes.append(f"Only {felt.mean():.0%} of the rollouts tell {name} anything; training will be slow.")
    if seen["truncated"] > 0.1:
        notes.append(f"The limit of {limit} tokens ends {seen['truncated']:.0%} of the untrained model's rollouts.")
    if seen["accuracy"] < 0.05:
        notes.append(f"Only {seen['accuracy']:.1%} of the untrained model's rollouts are right.")
    return notes


def large_advantages(most: float) -> str:
    """Return the warning about advantages as large as this."""
    return (
        f"Advantages reach {most:.0f}: statistics over tokens, in a batch in which a few rollouts have nearly all of "
        "them. Short rollouts decide the update. Lower --max-tokens or the method's cap, or take scope=sequence."
    )


class Alarms:
    """Says when a training goes wrong: feed it each step's figures.

    The first `WINDOW` steps are what later ones are compared with. Each alarm sounds once, and again only after its
    cause was gone.
    """

    def __init__(self) -> None:
        self._first: dict[str, list[float]] = {}
        self._last: dict[str, deque[float]] = {}
        self._ringing: set[str] = set()

    def __call__(self, row: Mapping[str, Any]) -> list[str]:
        """New alarms after this step."""
        for name in WATCHED.values():
            value = row.get(name)
            if isinstance(value, int | float):
                if len(self._first.setdefault(name, [])) < WINDOW:
                    self._first[name].append(float(value))
                self._last.setdefault(name, deque(maxlen=WINDOW)).append(float(value))
        found = dict(filter(None, map(self._check, WATCHED)))
        new = [text for name, text in found.items() if name not in self._ringing]
        self._ringing = set(found)
        return new

    def _check(self, name: str) -> tuple[str, str] | None:
        key = WATCHED[name]
        if len(self._last.get(key, ())) < WINDOW:
            return None
        then, now = float(np.mean(self._first[key])), float(np.mean(self._last[key]))
        match name:
            case "accuracy" if now < 0.6 * then:
                return name, f"Accuracy fell from {then:.1%} to {now:.1%}."
            case "length" if now < 0.1 * then:
                return (
                    name,
                    f"Rollouts shrank from {then:.0f} to {now:.0f} tokens: it may have stopped thinking.",
                )
            case "entropy" if now < 0.1 * then:
                return name, f"Entropy fell from {then:.3f} to {now:.3f} nats: the model has stopped exploring."
            case "clip_share" if now > 0.3:
                return name, f"{now:.0%} of the tokens are clipped: the updates are too large."
            case "largest_advantage" if now > LARGE:
                return name, large_advantages(now)
            case "truncated" if now > 0.5 and now > 2 * then:
                return name, f"The limit now ends {now:.0%} of the rollouts, {then:.0%} at the start."
        return None
