"""Which signal knows best, at a cue, whether the answer would be right: trial confidence, hidden states, or both?

    python studies/stopping-pocket/signals.py runs/stopping-pocket/recordings/calibration-chain-sum-hard

Probes are trained on three fifths of the problems and measured on the others.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from satisfice.core.problem import Verdict
from satisfice.methods.stopping.learning import Examples, part_of, probability, states, train_classifier
from satisfice.recordings.recording import Recording

WRONG = (0.01, 0.02, 0.05)  # share of wrong looks at which it may stop


def main() -> None:
    """Print a row a signal."""
    hidden, trial, right, problem, number = read(Recording(Path(sys.argv[1])))
    train = np.array([part_of(p) == "train" for p in problem])
    print(f"{(~train).sum()} looks at {len(set(problem[~train]))} problems, {right[~train].mean():.3f} right")
    for cue in (1, 2, 3):
        print(f"cue {cue}: {(number == cue).sum()} looks, {right[number == cue].mean():.3f} right")

    def learned(x: NDArray[Any]) -> NDArray[Any]:
        network = train_classifier(Examples(x=x[train], y=right[train], problem=problem[train]), "logistic", (), 0)
        return probability(network, x)

    signals = {
        "mean probability of the trial's tokens (DEER)": trial[:, 0], "their least probability": trial[:, 1],
        "trial features, learned": learned(trial), "hidden states, learned (LYNX)": learned(hidden),
        "both, learned": learned(np.concatenate([hidden, trial], axis=1)),
    }  # fmt: skip
    for name, score in signals.items():
        told(name, score[~train], right[~train], number[~train])


def told(name: str, score: NDArray[Any], right: NDArray[np.bool_], number: NDArray[Any]) -> None:
    """One row: AUROC over all looks and at the first cue, and right looks that stop at some shares of wrong ones."""
    first = number == 1
    shares = [f"{(score[right] > np.quantile(score[~right], 1 - w)).mean():.3f} at {w:.0%}" for w in WRONG]
    print(
        f"{name}: AUROC {roc_auc_score(right, score):.4f}, first cue {roc_auc_score(right[first], score[first]):.4f}; "
        f"stops where right: {', '.join(shares)} of the wrong"
    )


def read(recording: Recording) -> tuple[NDArray[Any], ...]:
    """Of each look at a cue: states, features of the trial answer, whether it would be right, whose, which cue."""
    rows = []
    for row in recording.rows.values():
        chain = recording.chain(row)
        before: str | None = None
        for number, point in enumerate((p for p in chain.checkpoints if p.cue and p.hidden), 1):
            reply = point.replies["trial"]
            logprobs = reply.tokens.logprobs
            if logprobs is None or not len(logprobs):
                continue
            p = np.exp(logprobs[:-1] if len(logprobs) > 1 else logprobs)  # without the end of the turn
            agrees = reply.answer is not None and reply.answer == before
            before = reply.answer
            seen = [p.mean(), p.min(), np.log(p).sum(), agrees, number, point.at / 100]
            good = point.replies["answer"].verdict is Verdict.RIGHT
            rows.append((states(point, recording.layers, 1), seen, good, row.problem, number))
    hidden, trial, right, problem, numbers = map(np.array, zip(*rows, strict=True))
    return hidden, trial.astype(np.float32), right, problem, numbers


if __name__ == "__main__":
    main()
