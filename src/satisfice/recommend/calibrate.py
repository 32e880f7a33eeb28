"""Fit what a rule learns, on recorded chains: train on some problems, calibrate on others, measure on a third part.

Which part a problem is in follows from a hash of its id, so all looks at it are in one, and a recording that has grown
keeps its parts. What comes out is an `Artefact`: the network, the calibration scores, where they come from, and what
was measured on the problems that nothing else has seen.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.problem import Verdict
from satisfice.methods.stopping.artefact import Artefact, Network, sigmoid
from satisfice.methods.stopping.first_try import ngram_counts
from satisfice.methods.stopping.lynx import conformal, exits
from satisfice.recordings.recording import Checkpoint, RecordedChain, Recording

Part = Literal["train", "calibration", "test"]
Kind = Literal["logistic", "mlp"]

LEAST = 20  # examples of each class in a part: with fewer nothing that is measured means anything
DELTAS = (0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """What a probe learns from: features, targets, and whose they are."""

    x: NDArray[np.float32]  # [n, d]
    y: NDArray[Any]  # [n] whether it is so, or [n, 3] targets
    problem: NDArray[Any]  # [n] ids

    def part(self, part: Part) -> "Examples":
        """Return the examples of one part's problems."""
        mine = np.array([part_of(str(p)) == part for p in self.problem], dtype=bool)
        return Examples(x=self.x[mine], y=self.y[mine], problem=self.problem[mine])


def part_of(problem: str) -> Part:
    """Return the part of a problem: three fifths train, a fifth calibrates, a fifth tests."""
    fifth = zlib.crc32(f"calibrate {problem}".encode()) % 5
    return "train" if fifth < 3 else "calibration" if fifth == 3 else "test"


def calibrate(rule: str, recording: Recording, *, kind: Kind = "logistic", seed: int = 0) -> Artefact:
    """Fit what `rule` learns on a recording.

    `kind` is the network where the rule leaves a choice: a logistic regression, or the paper's multi-layer perceptron,
    which wants more chains.

    Raises:
        UnknownName: no rule of that name learns.
        BadInput: the recording lacks what the rule reads, or has too few examples of one class.
    """
    if rule not in FITS:
        raise UnknownName("rule that learns", rule, FITS)
    network, layers, arrays, measured = FITS[rule](recording, kind, seed)
    config = recording.config
    about = {
        "recording": {
            "model": config["model"], "tasks": config["tasks"], "problems": config["problems"],
            "split": config["split"], "seeds": config["seeds"], "chains": len(recording),
            "temperature": recording.temperature,
        },
        "network": kind, "seed": seed, "measured": measured,
    }  # fmt: skip
    return Artefact(
        rule=rule, network=network, layers=layers, arrays=arrays, weights=str(config.get("weights") or ""), about=about
    )


Fitted = tuple[Network, tuple[int, ...], Mapping[str, NDArray[Any]], dict[str, Any]]


def fit_lynx(recording: Recording, kind: Kind, seed: int) -> Fitted:
    """Return a probe on the states at cue words: would the answer be right if the chain stopped before the cue?"""
    layers = _layers(recording)
    found = _collect(
        (states(point, layers, 1), point.replies["answer"].verdict is Verdict.RIGHT, chain.problem.id)
        for chain, point in _points(recording)
        if point.cue and point.hidden and "answer" in point.replies
        and point.replies["answer"].verdict is not Verdict.UNKNOWN
    )  # fmt: skip
    network = classifier(_both(found, "train"), kind, (256, 64), seed)
    held, test = _both(found, "calibration"), _both(found, "test")
    p = probability(network, held.x)
    arrays = {"wrong": np.sort(p[~held.y]), "right": np.sort(p[held.y])}
    return (
        network,
        layers,
        arrays,
        {**_auroc(network, test), "delta": coverage(arrays, probability(network, test.x), test.y)},
    )


def coverage(arrays: Mapping[str, NDArray[Any]], p: NDArray[Any], right: NDArray[Any]) -> list[dict[str, float]]:
    """How often the rule exits at looks that would be wrong (at most delta is promised) and right, at some delta."""
    rows = []
    for delta in DELTAS:
        q = conformal(arrays["wrong"], arrays["right"], delta)
        out = np.array([exits(float(one), *q) for one in p], dtype=bool)
        rows.append(
            {
                "delta": delta, "attainable": bool(delta >= 1 / (arrays["wrong"].size + 1)),
                "wrong": int((~right).sum()),
                "exits_if_wrong": float(out[~right].mean()), "exits_if_right": float(out[right].mean()),
            }
        )  # fmt: skip
    return rows


def fit_specexit(recording: Recording, kind: Kind, seed: int) -> Fitted:
    """Return a linear head on the states at checkpoints, with the labels of `exit_targets`."""
    layers = _layers(recording)
    found = _collect(
        (states(point, layers, 0), target, chain.problem.id)
        for chain in _chains(recording)
        for point, target in zip(chain.checkpoints, exit_targets(chain), strict=True)
        if target is not None and point.hidden
    )
    train, test = found.part("train"), found.part("test")
    if len(train.x) < LEAST or len(test.x) < LEAST:
        raise BadInput(
            f"specexit: {recording.folder} has {len(found.x)} checkpoints with states on chains that come to the right "
            "answer, too few to learn from. Record more chains."
        )
    from sklearn.linear_model import Ridge
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(train.x)
    ridge = Ridge(alpha=10.0).fit(scaler.transform(train.x), train.y)
    network = _network(scaler, [np.atleast_2d(ridge.coef_).T], [np.ravel(ridge.intercept_)])
    told = network(test.x)
    fit = 1 - ((told - test.y) ** 2).sum(0) / ((test.y - test.y.mean(0)) ** 2).sum(0)
    names = ("confidence", "progress", "remain")
    measured = {"looks": len(test.x), "explained": dict(zip(names, fit.round(4).tolist(), strict=True))}
    return network, layers, {}, measured


def exit_targets(chain: RecordedChain) -> list[NDArray[np.float64] | None]:
    """Return what the three signals should be at each checkpoint of a chain, on the scales that the head is linear on.

    With `shortest` the least prefix from which the forced answer is right: the logit of the mean probability of the
    trial's tokens, the logit of position / shortest (at most 1), and the log of the tokens that remain to it (at least
    1). None where there is no such prefix, or no trial. Reconstructed from a digest of the paper.
    """
    shortest = next((p.at for p in chain.checkpoints if _right(p)), None)
    targets: list[NDArray[np.float64] | None] = []
    for point in chain.checkpoints:
        logprobs = point.replies["trial"].tokens.logprobs if "trial" in point.replies else None
        if shortest is None or logprobs is None or not len(logprobs):
            targets.append(None)
            continue
        confidence = float(np.exp(logprobs.astype(np.float64)).mean())
        progress = min(1.0, point.at / shortest) if shortest else 1.0
        shares = np.clip([confidence, progress], 0.01, 0.99)
        targets.append(np.array([*np.log(shares / (1 - shares)), np.log(max(shortest - point.at, 1))]))
    return targets


def fit_knowing(recording: Recording, kind: Kind, seed: int) -> Fitted:
    """A probe on the state before the first word, of the recorded layer that tells best: will the answer be right?"""
    best: tuple[float, Network, int, Examples] | None = None
    told: dict[str, float] = {}
    for layer in _layers(recording):
        found = _collect(
            (states(chain.checkpoints[0], (layer,), 0), chain.verdict is Verdict.RIGHT, chain.problem.id)
            for chain in _chains(recording)
            if chain.checkpoints and chain.checkpoints[0].at == 0 and chain.checkpoints[0].hidden
            and chain.verdict is not Verdict.UNKNOWN
        )  # fmt: skip
        network = classifier(_both(found, "train"), kind, (256, 128, 64), seed)
        score = _auroc(network, _both(found, "calibration"))["auroc"]
        told[str(layer)] = score
        if best is None or score > best[0]:
            best = (score, network, layer, found)
    if best is None:
        raise BadInput("knowing-before-saying: no layer was recorded.")
    _, network, layer, found = best
    return network, (layer,), {}, {**_auroc(network, _both(found, "test")), "auroc_by_layer_calibration": told}


def fit_first_try(recording: Recording, kind: Kind, seed: int) -> Fitted:
    """Return a classifier of questions: do this question's own chains ever repair a wrong candidate answer?"""
    repaired: dict[str, bool] = {}
    questions: dict[str, str] = {}
    for chain in _chains(recording):
        questions[chain.problem.id] = chain.problem.question
        repaired[chain.problem.id] = repaired.get(chain.problem.id, False) or repairs(chain, recording)
    found = _collect((ngram_counts(questions[p]), repaired[p], p) for p in questions)
    network = classifier(_both(found, "train"), "logistic", (), seed)
    return network, (), {}, _auroc(network, _both(found, "test"))


def repairs(chain: RecordedChain, recording: Recording) -> bool:
    """Whether a chain, after it has stated an answer, would be wrong if stopped at one place and right at a later."""
    wrong = False
    for point in chain.checkpoints:
        reply = point.replies.get("trial") or point.replies.get("answer")
        if reply is None or not recording.profile.candidate.search("".join(chain.pieces[: point.at])):
            continue
        if wrong and reply.verdict is Verdict.RIGHT:
            return True
        wrong = wrong or reply.verdict is Verdict.WRONG
    return False


FITS: Mapping[str, Callable[[Recording, Kind, int], Fitted]] = {
    "first-try": fit_first_try,
    "knowing-before-saying": fit_knowing,
    "lynx": fit_lynx,
    "specexit": fit_specexit,
}


def classifier(examples: Examples, kind: Kind, sizes: tuple[int, ...], seed: int) -> Network:
    """Learn a class from features, standardised, both classes weighted alike; output is the log-odds `[n, 1]`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(examples.x)
    x = scaler.transform(examples.x)
    if kind == "logistic":
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000).fit(x, examples.y)
        return _network(scaler, [model.coef_.T], [model.intercept_])
    share = examples.y.mean()
    weight = np.where(examples.y, 0.5 / share, 0.5 / (1 - share))
    many = len(x) >= 10 * LEAST  # early stopping sets a tenth of them aside
    mlp = MLPClassifier(sizes, early_stopping=many, validation_fraction=0.2, max_iter=500, random_state=seed)
    mlp.fit(x, examples.y, sample_weight=weight)
    return _network(scaler, mlp.coefs_, mlp.intercepts_)


def probability(network: Network, x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the chance `[n]` that it is so."""
    return np.asarray(sigmoid(network(x)[:, 0]))


def states(point: Checkpoint, layers: tuple[int, ...], which: Literal[0, 1]) -> NDArray[np.float32]:
    """The recorded states of some layers at a checkpoint, one after another: before it (0), or at the cue's end (1)."""
    return np.concatenate([point.hidden[layer][which] for layer in layers])


def _network(scaler: Any, weights: list[NDArray[Any]], biases: list[NDArray[Any]]) -> Network:
    single = np.float32  # what the file holds, so that a rule decides alike before and after saving
    return Network(
        mean=scaler.mean_.astype(single), scale=scaler.scale_.astype(single),
        weights=tuple(w.astype(single) for w in weights), biases=tuple(b.astype(single) for b in biases),
    )  # fmt: skip


def _layers(recording: Recording) -> tuple[int, ...]:
    if not recording.layers:
        raise BadInput(
            f"{recording.folder} holds no hidden states. Record with, for example, `satisfice record --hidden 2,-1`."
        )
    return recording.layers


def _chains(recording: Recording) -> Iterator[RecordedChain]:
    return (recording.chain(row) for row in recording.rows.values())


def _points(recording: Recording) -> Iterator[tuple[RecordedChain, Checkpoint]]:
    return ((chain, point) for chain in _chains(recording) for point in chain.checkpoints)


def _right(point: Checkpoint) -> bool:
    reply = point.replies.get("trial") or point.replies.get("answer")
    return reply is not None and reply.verdict is Verdict.RIGHT


def _collect(rows: Iterable[tuple[NDArray[Any], Any, str]]) -> Examples:
    found = list(rows)
    if not found:
        raise BadInput("calibrate: the recording holds no place that this rule could learn from.")
    x, y, problem = zip(*found, strict=True)
    return Examples(x=np.stack(x).astype(np.float32), y=np.array(y), problem=np.array(problem))


def _both(examples: Examples, part: Part) -> Examples:
    """Return a part that has enough of both classes."""
    mine = examples.part(part)
    yes, no = int(mine.y.sum()), int((~mine.y).sum())
    if min(yes, no) < LEAST:
        raise BadInput(
            f"calibrate: the {part} part has {yes} examples of one class and {no} of the other, and it takes {LEAST} "
            "of each. Record more chains, or harder or easier problems."
        )
    return mine


def _auroc(network: Network, examples: Examples) -> dict[str, Any]:
    from sklearn.metrics import roc_auc_score

    area = float(roc_auc_score(examples.y, probability(network, examples.x)))
    problems = len(set(examples.problem.tolist()))
    return {"auroc": round(area, 4), "looks": len(examples.y), "right": int(examples.y.sum()), "problems": problems}


def default_path(rule: str, recording: Recording) -> Path:
    """Return where an artefact goes unless told otherwise: beside the recording's files."""
    return recording.folder / f"{rule}.json"
