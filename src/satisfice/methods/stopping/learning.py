"""What rules that learn share: examples from recorded chains, the parts of them, and small classifiers.

A rule that learns has, in its own file, a static method `fit`, which `satisfice calibrate RULE` calls with recorded
chains; what it returns is saved as an `Artefact`. Rules train on some problems, calibrate on others and are measured on
a third part. Which part a problem is in follows from a hash of its id, so all looks at it are in one, and a recording
that has grown keeps its parts.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from satisfice.core.errors import BadInput
from satisfice.core.recorded import Checkpoint, RecordedChain, Records
from satisfice.methods.stopping.artefact import Network, sigmoid

Part = Literal["train", "calibration", "test"]
Classifier = Literal["logistic", "mlp"]

LEAST = 20  # examples of each class in a part: with fewer nothing that is measured means anything


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """What a rule has learned."""

    network: Network
    layers: tuple[int, ...] = ()  # whose hidden states the network reads
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)  # calibration scores
    measured: Mapping[str, Any] = field(default_factory=dict)  # on problems that nothing else has seen: JSON


@runtime_checkable
class Learning(Protocol):
    """A rule that learns."""

    @staticmethod
    def fit(records: Records, classifier: Classifier, seed: int) -> Fitted:
        """Learn from recorded chains.

        `classifier` is the network where the rule leaves a choice: a logistic regression, or the paper's multi-layer
        perceptron, which needs more chains.

        Raises:
            BadInput: the records lack what the rule reads, or have too few examples of one class.
        """


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


def train_classifier(examples: Examples, kind: Classifier, sizes: tuple[int, ...], seed: int) -> Network:
    """Learn a class from features, standardised, both classes weighted alike; output is the log-odds `[n, 1]`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(examples.x)
    x = scaler.transform(examples.x)
    if kind == "logistic":
        model = LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000).fit(x, examples.y)
        return network_of(scaler, [model.coef_.T], [model.intercept_])
    share = examples.y.mean()
    weight = np.where(examples.y, 0.5 / share, 0.5 / (1 - share))
    many = len(x) >= 10 * LEAST  # early stopping sets a tenth of them aside
    mlp = MLPClassifier(sizes, early_stopping=many, validation_fraction=0.2, max_iter=500, random_state=seed)
    mlp.fit(x, examples.y, sample_weight=weight)
    return network_of(scaler, mlp.coefs_, mlp.intercepts_)


def probability(network: Network, x: NDArray[Any]) -> NDArray[np.float64]:
    """Return the chance `[n]` that it is so."""
    return np.asarray(sigmoid(network(x)[:, 0]))


def states(point: Checkpoint, layers: tuple[int, ...], which: Literal[0, 1]) -> NDArray[np.float32]:
    """The recorded states of some layers at a checkpoint, one after another: before it (0), or at the cue's end (1)."""
    return np.concatenate([point.hidden[layer][which] for layer in layers])


def network_of(scaler: Any, weights: list[NDArray[Any]], biases: list[NDArray[Any]]) -> Network:
    """Return the network that a scaler and layers of scikit-learn are."""
    single = np.float32  # what the file holds, so that a rule decides alike before and after saving
    return Network(
        mean=scaler.mean_.astype(single), scale=scaler.scale_.astype(single),
        weights=tuple(w.astype(single) for w in weights), biases=tuple(b.astype(single) for b in biases),
    )  # fmt: skip


def layers_of(records: Records) -> tuple[int, ...]:
    """Return the layers whose states were recorded; `BadInput` without any."""
    if not records.layers:
        raise BadInput(
            f"{records.folder} holds no hidden states. Record with, for example, `satisfice record --hidden 2,-1`."
        )
    return records.layers


def points_of(records: Records) -> Iterator[tuple[RecordedChain, Checkpoint]]:
    """Yield every checkpoint with its chain."""
    return ((chain, point) for chain in records.chains() for point in chain.checkpoints)


def collect(rows: Iterable[tuple[NDArray[Any], Any, str]]) -> Examples:
    """Return examples from (features, target, problem's id); `BadInput` when there is none."""
    found = list(rows)
    if not found:
        raise BadInput("calibrate: the recording holds no place that this rule could learn from.")
    x, y, problem = zip(*found, strict=True)
    return Examples(x=np.stack(x).astype(np.float32), y=np.array(y), problem=np.array(problem))


def both(examples: Examples, part: Part) -> Examples:
    """Return a part that has enough of both classes."""
    mine = examples.part(part)
    yes, no = int(mine.y.sum()), int((~mine.y).sum())
    if min(yes, no) < LEAST:
        raise BadInput(
            f"calibrate: the {part} part has {yes} examples of one class and {no} of the other, and it takes {LEAST} "
            "of each. Record more chains, or harder or easier problems."
        )
    return mine


def auroc(network: Network, examples: Examples) -> dict[str, Any]:
    """Return how well a network tells two classes apart, on some examples, and how many these are."""
    from sklearn.metrics import roc_auc_score

    area = float(roc_auc_score(examples.y, probability(network, examples.x)))
    problems = len(set(examples.problem.tolist()))
    return {"auroc": round(area, 4), "looks": len(examples.y), "right": int(examples.y.sum()), "problems": problems}
