"""How often are promises broken? The recorded problems are resampled, and each sample is searched as `recommend` does.

A population is a weight per problem, so what a setting truly loses in it is known. Populations that tempt are made by
reweighting: the setting that saves most there truly loses one hundredth more than is allowed. All resamplings of a
population go through the search at once; `check` holds them against `satisfice.recommend.search`, one by one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rows
from numpy.typing import NDArray
from scipy.stats import beta, binomtest

from satisfice.core.files import clean, replace_file
from satisfice.measure.drift import Drift, Reference
from satisfice.measure.monitor import evidence
from satisfice.recommend.search import LEAST_SAVING, Goal, certify, choose
from satisfice.recommend.tables import Table

FILE = "results.json"
LOSSES, SIZES = (0.01, 0.02, 0.05), (150, 500, 2000)  # promised; problems per tier, those to choose on among them
TEMPTED = 1.01  # what a tempting setting truly loses, as a multiple of what is allowed
LADDERS = 3  # the best ladders, each of which tempts in a population of its own
BLOCK = 250  # resamplings at once
CHECKED = 20  # resamplings per cell that are done again by the search itself
LIVES, LIFE = 5000, 20_000  # of a monitor: how many, and comparisons in each
FEW = 50  # lives at once
SHIFTS, BEFORE = 1000, 2000  # streams that turn from easy to hard, and requests before that


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Problems with weights, and what each setting does to each of them."""

    name: str
    ladders: Mapping[str, Sequence[int]]  # by name, the settings in their order
    settings: Sequence[str]
    lost: NDArray[np.float64]  # [settings, problems]
    saved: NDArray[np.float64]  # [settings, problems] tokens
    spent: NDArray[np.float64]  # [problems] tokens of the full chains
    tier: NDArray[np.int64]  # [problems]
    weight: NDArray[np.float64]  # [problems] that of each tier's problems sums to 1

    @property
    def tiers(self) -> range:
        """The tiers."""
        return range(int(self.tier.max()) + 1)

    def losses(self) -> NDArray[np.float64]:
        """What each setting truly loses, `[settings, tiers]`."""
        return np.stack([self.lost[:, self.tier == t] @ self.weight[self.tier == t] for t in self.tiers], axis=1)

    def savings(self) -> NDArray[np.float64]:
        """What each setting truly saves over all tiers, `[settings]`."""
        saved: NDArray[np.float64] = self.saved @ self.weight / float(self.spent @ self.weight)
        return saved


def write(results: Path, resamplings: int) -> None:
    """Simulate everything and write it beside the rows."""
    kept, arrays = rows.load(results / rows.FILE)
    whole = population(kept["ladders"], arrays)
    cells = []
    for most in LOSSES:
        for one in [whole, *tempting(whole, most)]:
            for size in SIZES:
                cells.append(cell(one, Goal(most=most), size, resamplings))
                print(json.dumps(clean(cells[-1])), flush=True)
    found = {
        "resamplings": resamplings, "tempted": TEMPTED, "cells": cells, "monitor": monitor_lives(),
        "drift": shift(arrays), "check": recommendation(kept, arrays),
        "read_and_replayed": kept["read_and_replayed"], "left_out": kept["left_out"],
    }  # fmt: skip
    before = json.loads((results / FILE).read_text("utf-8")) if (results / FILE).exists() else {}
    replace_file(results / FILE, json.dumps(clean({**before, **found}), indent=1) + "\n")


def population(ladders: Mapping[str, Sequence[str]], arrays: rows.Arrays) -> Population:
    """The problems as they were recorded, each tier's alike in weight."""
    specs = list(dict.fromkeys(spec for some in ladders.values() for spec in some))
    tier = arrays["class"].astype(int)
    return Population(
        name="as recorded", ladders={name: [specs.index(spec) for spec in some] for name, some in ladders.items()},
        settings=specs, lost=np.array([arrays[f"lost-{spec}"] > 0 for spec in specs], dtype=float),
        saved=np.array([arrays[f"saved-{spec}"] for spec in specs], dtype=float),
        spent=arrays["spent"].astype(float), tier=tier, weight=1.0 / np.bincount(tier)[tier],
    )  # fmt: skip


def tempting(whole: Population, most: float) -> list[Population]:
    """Populations in which the setting after the best one of a ladder truly loses just more than allowed.

    In the tier where it loses most, problems that it loses get the weight at which their share is `TEMPTED * most`; in
    the others, where it would lose more than half of what is allowed, half. So one tier alone decides.
    """
    losses, savings = whole.losses(), whole.savings()
    best: dict[str, int] = {}
    for name, some in whole.ladders.items():
        if good := [at for at in some if losses[at].max() <= most]:
            best[name] = max(good, key=lambda at: savings[at])
    found = []
    for name in sorted(best, key=lambda name: -savings[best[name]])[:LADDERS]:
        some = list(whole.ladders[name])
        at = some[min(some.index(best[name]) + 1, len(some) - 1)]
        worst, weight = int(losses[at].argmax()), whole.weight.copy()
        for tier in whole.tiers:
            share = TEMPTED * most if tier == worst else min(losses[at, tier], most / 2)
            mine, lost = whole.tier == tier, whole.lost[at] > 0
            for some_of, total in ((mine & lost, share), (mine & ~lost, 1 - share)):
                weight[some_of] = total / max(some_of.sum(), 1)
        found.append(Population(**{**vars(whole), "name": whole.settings[at], "weight": weight}))
    return found


def cell(one: Population, goal: Goal, size: int, resamplings: int) -> dict[str, Any]:
    """What the search does to many samples of so many problems per tier."""
    rng = np.random.default_rng([size, round(1000 * goal.most), len(one.name)])
    chosen = np.concatenate([
        search(one, goal, *draw(one, size, min(BLOCK, resamplings - at), rng)) for at in range(0, resamplings, BLOCK)
    ])  # fmt: skip
    losses, savings = one.losses().max(axis=1), one.savings()
    good = [at for at in range(len(savings)) if losses[at] <= goal.most]
    oracle = max((savings[at] for at in good), default=0.0)
    some = chosen >= 0
    broken = int((losses[chosen[some]] > goal.most).sum())
    exact = binomtest(broken, resamplings).proportion_ci(0.95, "exact")
    kept = some & (losses[chosen] <= goal.most)
    return {
        "population": one.name, "most": goal.most, "problems": size, "broken": broken,
        "broken_share": broken / resamplings, "broken_low": float(exact.low), "broken_high": float(exact.high),
        "more_than_said": bool(binomtest(broken, resamplings, goal.doubt, alternative="greater").pvalue < 0.05),
        "promised": int(some.sum()) / resamplings, "kept": int(kept.sum()) / resamplings,
        "saving_where_kept": float(savings[chosen[kept]].mean()) if kept.any() else None, "oracle": float(oracle),
        "differ_from_search": check(one, goal, size, rng),
    }  # fmt: skip


def draw(
    one: Population, size: int, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # fmt: skip
    """How often each problem is among those to choose on and those to test on, `[n, problems]` each."""
    choosing = size // 3
    parts = np.zeros((2, n, one.tier.size), dtype=np.int64)
    for tier in one.tiers:
        mine = np.flatnonzero(one.tier == tier)
        p = one.weight[mine] / one.weight[mine].sum()
        for part, many in enumerate((choosing, size - choosing)):
            drawn = rng.choice(mine.size, size=(n, many), p=p) + mine.size * np.arange(n)[:, None]
            parts[part][:, mine] = np.bincount(drawn.ravel(), minlength=n * mine.size).reshape(n, mine.size)
    return parts[0], parts[1]


def search(
    one: Population, goal: Goal, choosing: NDArray[np.int64], testing: NDArray[np.int64]
) -> NDArray[np.int64]:  # fmt: skip
    """Return the setting that each sample comes to, `[n]`; -1 where nothing may be used."""
    size, test = (int(part[0, one.tier == 0].sum()) for part in (choosing, testing))
    bound = upper_bounds(test, goal.doubt)
    lost, saving = counted(one, choosing)
    tested, saved = counted(one, testing)
    expected, first, hopes = [], [], []
    names = list(one.ladders)
    for name in names:
        some = list(one.ladders[name])
        hoped = np.round((lost[:, some] + 0.5) / (size + 1) * test).astype(int)
        alive = np.logical_and.accumulate((bound[hoped] <= goal.most).all(axis=2), axis=1)
        expected.append(np.where(alive, saving[:, some], 0.0).max(axis=1).clip(min=0.0))
        first.append(lost[:, some[0]].sum(axis=1))
        within = np.logical_and.accumulate(lost[:, some].sum(axis=2) <= goal.most * size * len(one.tiers), axis=1)
        hopes.append(np.where(within, saving[:, some], 0.0).max(axis=1).clip(min=0.0))
    alphabet = np.broadcast_to(np.argsort(np.argsort(names))[:, None], np.array(first).shape)
    order = np.lexsort((alphabet, -np.array(hopes), np.array(first), -np.array(expected)), axis=0)
    chosen = np.full(len(choosing), -1)
    for number, name in enumerate(names):
        mine, some = np.flatnonzero(order[0] == number), np.array(one.ladders[name])
        alive = np.logical_and.accumulate((bound[tested[mine][:, some]] <= goal.most).all(axis=2), axis=1)
        worth = np.where(alive & (saved[mine][:, some] >= LEAST_SAVING), saved[mine][:, some], -1.0)
        chosen[mine] = np.where(worth.max(axis=1) > 0, some[worth.argmax(axis=1)], -1) if mine.size else chosen[mine]
    return chosen


def counted(one: Population, counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What samples show of each setting: problems lost `[n, settings, tiers]`, and the share of tokens saved."""
    weights = counts.astype(np.float32)
    lost = [weights[:, one.tier == t] @ one.lost[:, one.tier == t].T.astype(np.float32) for t in one.tiers]
    saved = weights.astype(float) @ one.saved.T / (weights.astype(float) @ one.spent)[:, None]
    return np.rint(np.stack(lost, axis=2)).astype(np.int64), saved


def upper_bounds(size: int, doubt: float) -> NDArray[np.float64]:
    """The exact bound above the share lost, for 0 to `size` problems lost."""
    lost = np.arange(size)
    return np.append(beta.ppf(1 - doubt, lost + 1, size - lost), 1.0)


def check(one: Population, goal: Goal, size: int, rng: np.random.Generator) -> int:
    """In how many of some samples the search itself comes to another setting."""
    choosing, testing = draw(one, size, CHECKED, rng)
    found = search(one, goal, choosing, testing)
    return sum(bool(one_by_one(one, goal, *pair) != at) for *pair, at in zip(choosing, testing, found, strict=True))


def one_by_one(one: Population, goal: Goal, choosing: NDArray[np.int64], testing: NDArray[np.int64]) -> int:
    """What `satisfice.recommend.search` comes to."""

    def table(name: str, counts: NDArray[np.int64]) -> Table:
        at = np.repeat(np.arange(counts.size), counts)
        some = list(one.ladders[name])
        return Table(
            losses=one.lost[some][:, at].astype(np.int8), spent=(one.spent - one.saved[some])[:, at].astype(int),
            full=one.spent[at].astype(int), classes=one.tier[at],
        )  # fmt: skip

    sizes = [int(testing[one.tier == tier].sum()) for tier in one.tiers]
    best = next(iter(choose({name: table(name, choosing) for name in one.ladders}, goal, sizes)))
    choice = certify(best, [one.settings[at] for at in one.ladders[best]], table(best, testing), goal)
    return -1 if choice.setting is None else one.settings.index(choice.setting)


def recommendation(kept: Mapping[str, Any], arrays: rows.Arrays) -> dict[str, Any]:
    """What the recommendation does to fresh problems, and what the best setting does that keeps the promise on them.

    The best one is chosen on the very problems that it is held against, which flatters it.
    """
    goal = Goal(most=kept["found"]["goal"]["most"])
    chosen = kept["found"]["choice"]["setting"]
    best = rows.best([spec for some in kept["ladders"].values() for spec in some], arrays, goal.most)
    of = [arrays["class"] == tier for tier in range(int(arrays["class"].max()) + 1)]
    rows_of = {
        spec: {
            "problems": [int(mine.sum()) for mine in of],
            "lost": [int((arrays[f"lost-{spec}"][mine] > 0).sum()) for mine in of],
            "gained": [int((arrays[f"lost-{spec}"][mine] < 0).sum()) for mine in of],
            "changed": [int(arrays[f"changed-{spec}"][mine].sum()) for mine in of],
            "saved": rows.savings(arrays, spec),
        }
        for spec in dict.fromkeys([chosen, best])
    }  # fmt: skip
    return {"chosen": chosen, "best": best, "settings": rows_of, "floor": kept["found"]["floor"]}


def monitor_lives() -> dict[str, Any]:
    """How often a monitor of 2 % raises a false alarm in its whole life, and how soon it finds that more is lost."""
    rng, most = np.random.default_rng(0), 0.02
    found: dict[str, Any] = {"most": most, "lives": LIVES, "comparisons": LIFE, "found": {}}
    for share in (most, 0.03, 0.04, 0.06):
        alarm = []
        for _ in range(0, LIVES, FEW):
            at = rng.geometric(share, size=(FEW, round(1.5 * LIFE * share))).cumsum(axis=1)  # when the k-th is lost
            lost = np.broadcast_to(np.arange(1, at.shape[1] + 1), at.shape)
            over = (evidence(lost, at, most) >= 20) & (at <= LIFE)  # it rises by losses alone
            alarm.append(np.where(over.any(axis=1), at[np.arange(FEW), over.argmax(axis=1)], LIFE + 1))
        first = np.concatenate(alarm)
        alarms = int((first <= LIFE).sum())
        exact = binomtest(alarms, LIVES).proportion_ci(0.95, "exact")
        found["found"][str(share)] = {
            "alarms": alarms / LIVES, "alarms_low": float(exact.low), "alarms_high": float(exact.high),
            "median": int(np.median(first)) if alarms > LIVES / 2 else None,
            "ninth_tenth": int(np.quantile(first, 0.9)) if alarms > 0.9 * LIVES else None,
        }  # fmt: skip
    return found


def shift(arrays: rows.Arrays) -> dict[str, Any]:
    """How soon the drift alarm rings when easy problems turn into hard ones, and how often before that."""
    return {name: delays(arrays[name], arrays["class"]) for name in ("prompt", "first-look", "confidence")}


def delays(values: NDArray[Any], tier: NDArray[Any]) -> dict[str, Any]:
    """Requests from the turn to the alarm, over many streams; half of the easy problems are the reference."""
    rng = np.random.default_rng(1)
    easy, hard = (values[(tier == one) & np.isfinite(values)] for one in (0, 1))
    early, late = 0, []
    for _ in range(SHIFTS):
        order = rng.permutation(easy.size)
        known, fresh = easy[order[: easy.size // 2]], easy[order[easy.size // 2 :]]
        watch = Drift(reference=Reference.of(known))
        for value in rng.choice(fresh, BEFORE // 2, replace=False) if fresh.size >= BEFORE // 2 else fresh:
            watch = watch.seen(float(value), float(rng.random()))
        if watch.drifted:
            early += 1
            continue
        for n, value in enumerate(rng.choice(hard, 1000), 1):
            watch = watch.seen(float(value), float(rng.random()))
            if watch.drifted:
                late.append(n)
                break
    return {
        "streams": SHIFTS, "early": early / SHIFTS, "found": len(late) / max(SHIFTS - early, 1),
        "median": float(np.median(late)) if late else None,
        "ninth_tenth": float(np.quantile(late, 0.9)) if late else None,
    }  # fmt: skip
