"""Are promises kept on fresh data? Thresholds are calibrated on some of the recorded problems and tried on the rest."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rules import PROMISED
from scipy.stats import binomtest

from satisfice.catalog import build, canonical
from satisfice.core.problem import Verdict
from satisfice.measure.promises import control_risk
from satisfice.methods.stopping.artefact import load_artefact
from satisfice.methods.stopping.learning import part_of, probability, states
from satisfice.methods.stopping.lynx import quantile
from satisfice.recommend.calibrate_threshold import effects
from satisfice.recordings.recording import Recording

RESPLITS = 200
CALIBRATED = 1000  # problems that a threshold is chosen on; the others say what it loses
MOST, DOUBT = 0.02, 0.05
DELTAS = (0.02, 0.05, 0.1)  # of lynx
LYNX_RISK = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)  # delta as a threshold with a promise per chain


def promises(fresh: Recording, other: Recording, lynx: Path, cache: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """One after the other; `fresh` has had no part in anything, of `other` some problems have trained `lynx`."""
    deltas = [d for d in LYNX_RISK if d >= 1 / (load_artefact(str(lynx), "lynx").arrays["wrong"].size + 1)]
    specs = [f'lynx(artefact="{lynx}", delta={d})' for d in deltas]
    yield "lynx, per look", coverage(fresh, other, lynx)
    yield "lynx: delta", resplits(deltas, table(fresh, specs, cache / "lynx"))
    for rule, (field, values) in PROMISED.items():
        specs = [with_field(rule, field, value) for value in values]
        lost = np.concatenate([table(recording, specs, cache / rule) for recording in (fresh, other)], axis=1)
        yield f"{rule}: {field}", resplits(values, lost)


def with_field(rule: str, field: str, value: float) -> str:
    """A spec at one value."""
    base = rule.removesuffix(")") + (", " if rule.endswith(")") else "(")
    return canonical(build(f"{base}{field}={value})"))


def table(recording: Recording, specs: Sequence[str], cache: Path) -> NDArray[np.bool_]:
    """Which problems each rule loses, `[specs, problems]`; kept, because replaying takes its time."""
    path = cache / f"{recording.folder.name}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, np.array([one.lost for one in effects(recording, specs)]))
    lost: NDArray[np.bool_] = np.load(path)
    return lost


def resplits(values: Sequence[float], lost: NDArray[np.bool_]) -> dict[str, Any]:
    """How often a promise turned out false: more than `MOST` lost on the problems that it was not calibrated on."""
    rng = np.random.default_rng(0)
    problems = lost.shape[1]
    size = min(CALIBRATED, problems // 2)
    broken, chosen, shares = 0, [], []
    for _ in range(RESPLITS):
        order = rng.permutation(problems)
        outcome = control_risk(values, lost[:, order[:size]], most=MOST, doubt=DOUBT)
        chosen.append(outcome.threshold)
        if outcome.threshold is not None:
            shares.append(float(lost[list(values).index(outcome.threshold), order[size:]].mean()))
            broken += shares[-1] > MOST
    return {
        "problems": problems, "calibrated_on": size, "resplits": RESPLITS, "most": MOST, "doubt": DOUBT,
        "broken": broken, "kept": not_more(broken, RESPLITS, DOUBT),
        "none": chosen.count(None), "mean_lost": round(float(np.mean(shares)), 4) if shares else None,
        "chosen": {str(v): chosen.count(v) for v in values if v in chosen},
        "lost_in_all": {str(v): round(float(row.mean()), 4) for v, row in zip(values, lost, strict=True)},
    }  # fmt: skip


def not_more(count: int, n: int, share: float) -> bool:
    """Whether `count` of `n` is compatible with a chance of at most `share`, at a level of 5 %."""
    return bool(binomtest(count, n, share, alternative="greater").pvalue > 0.05)


def coverage(fresh: Recording, other: Recording, lynx: Path) -> dict[str, Any]:
    """LYNX's own promise: of looks where the answer would be wrong it exits at no more than delta, on average.

    Problems are split, their looks stay together; the probe was trained on none of them.
    """
    artefact = load_artefact(str(lynx), "lynx")
    scores: dict[str, list[float]] = {}
    for recording, unseen in ((fresh, lambda _: True), (other, lambda ident: part_of(ident) != "train")):
        for row in recording.rows.values():
            chain = recording.chain(row) if unseen(row.problem) else None
            for point in chain.checkpoints if chain else ():
                if point.cue and point.hidden and point.replies["answer"].verdict is Verdict.WRONG:
                    state = states(point, artefact.layers, 1)
                    p = float(probability(artefact.network, state[None])[0])
                    scores.setdefault(row.problem, []).append(p)
    problems = sorted(scores)
    rng = np.random.default_rng(0)
    exits: dict[float, list[float]] = {delta: [] for delta in DELTAS}
    for _ in range(RESPLITS):
        order = rng.permutation(len(problems))
        first, second = (
            np.concatenate([scores[problems[i]] for i in half]) for half in np.array_split(order, 2)
        )  # fmt: skip
        for delta in DELTAS:
            exits[delta].append(float((second > quantile(first, delta)).mean()))
    looks = sum(map(len, scores.values()))
    return {
        "wrong_looks": looks, "problems": len(problems), "resplits": RESPLITS,
        "exits_at_wrong_looks": {
            str(delta): {
                "mean": round(float(np.mean(shares)), 4), "worst": round(max(shares), 4),
                "kept": not_more(round(float(np.mean(shares)) * looks), looks, delta),  # all resplits share their looks
            }
            for delta, shares in exits.items()
        },
    }  # fmt: skip
