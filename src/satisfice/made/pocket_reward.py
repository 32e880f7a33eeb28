"""Train the reward model of the pocket reasoner's chains, and measure it on problems that it was not trained on.

    satisfice record --tasks products:hard,chain-sum:hard --split calibration --limit 200 --chains 4 --at "" --out runs/reward-train
    satisfice record --tasks products:hard,chain-sum:hard --split eval --limit 200 --chains 4 --at "" --out runs/reward-test
    python -m satisfice.made.pocket_reward --train runs/reward-train --test runs/reward-test

Every chain is cut at a quarter, a half, three quarters and the end of its thinking; the label is whether the whole chain
came out right.
"""  # noqa: E501 - commands are not broken

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import satisfice.methods.scoring.pocket_reward as reward
from satisfice.core.problem import Verdict
from satisfice.recordings.recording import Recording, read_recording

CUTS = (0.25, 0.5, 0.75, 1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the weights, with what was measured, into the package or to `--out`."""
    from sklearn.linear_model import LogisticRegression

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, nargs="+", help="recordings of the calibration split")
    parser.add_argument("--test", type=Path, required=True, nargs="+", help="recordings of the evaluation split")
    parser.add_argument("--out", type=Path, default=Path(reward.__file__).with_name(reward.WEIGHTS))
    args = parser.parse_args(arguments)
    x, right, _ = examples(args.train)
    scale = np.maximum(x.std(axis=0), 1e-6)
    fit = LogisticRegression(C=1.0, max_iter=1000).fit(x / scale, right)
    weights, bias = fit.coef_[0] / scale, float(fit.intercept_[0])
    row = {
        "schema_version": 1,
        "weights": {name: round(float(w), 4) for name, w in zip(reward.FEATURES, weights, strict=True)},
        "bias": round(bias, 4),
        "about": {
            "trained": _told(args.train), "measured": _told(args.test),
            "auroc": measured(args.test, weights, bias), "cuts": list(CUTS),
        },
    }  # fmt: skip
    args.out.write_text(json.dumps(row, indent=1) + "\n", "utf-8")
    print(json.dumps(row["about"], indent=1))


def examples(folders: Sequence[Path]) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]:
    """Features `[n, 6]` of cut chains, whether each came out right `[n]`, and which cut it is `[n]`.

    A chain that several recordings hold counts once.
    """
    rows, labels, cuts = [], [], []
    chains = {(c.problem.task, c.problem.id, c.seed, c.name): c for folder in folders for c in read_recording(folder)}
    for chain in chains.values():
        thinking = chain.text.partition("</think>")[0]
        for number, share in enumerate(CUTS):
            rows.append(reward.features(thinking[: round(share * len(thinking))]))
            labels.append(chain.verdict == Verdict.RIGHT)
            cuts.append(number)
    return np.array(rows), np.array(labels), np.array(cuts)


def measured(folders: Sequence[Path], weights: NDArray[np.float64], bias: float) -> dict[str, Any]:
    """Return how well right chains are told from wrong ones at each cut: the area under the curve, and of how many."""
    from sklearn.metrics import roc_auc_score

    x, right, cuts = examples(folders)
    scores = x @ weights + bias
    found = {
        f"at {share:.0%}": round(float(roc_auc_score(right[cuts == n], scores[cuts == n])), 3)
        for n, share in enumerate(CUTS)
    }
    return {**found, "chains": int((cuts == 0).sum()), "wrong": int((~right[cuts == 0]).sum())}


def _told(folders: Sequence[Path]) -> dict[str, Any]:
    """Whose chains these are, and how many of each task."""
    recordings = [Recording(folder) for folder in folders]
    keys = {(row.task, row.problem, row.seed, row.chain) for recording in recordings for row in recording.rows.values()}
    tasks = sorted({task for task, *_ in keys})
    return {
        "weights": recordings[0].config["weights"],
        "split": recordings[0].config["split"],
        "chains": {name: sum(task == name for task, *_ in keys) for name in tasks},
        "problems": {name: len({problem for task, problem, *_ in keys if task == name}) for name in tasks},
    }


if __name__ == "__main__":
    main()
