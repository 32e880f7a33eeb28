"""How much of the thinking was of use: trace metrics, scores of accuracy against length, and budget curves.

Lengths are tokens of the model that is measured. A response that a limit cut counts as it was answered; report the
share of such responses next to every mean. Everything here is a pure function of numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from satisfice.core.errors import BadInput
from satisfice.methods.tuning.braking import overthink_score as overthink_score  # where the data for it is made

Reflection = Literal["confirms right", "confirms wrong", "corrects", "stays wrong", "spoils"]


# Overthinking


def outcome_efficiency(length: ArrayLike, first_right: Sequence[float | None]) -> float:
    """How early the right answer stood: the share of a response up to its first right answer, 0 if there is none.

        xi_O = mean_i  sigma_i  That_i / T_i                                            (arXiv:2412.21187)

    `length` T_i and `first_right` That_i are tokens; None where no answer in the response was right (sigma_i = 0).
    Higher is better. It is generous to answers that were changed later: report it beside the final accuracy.

    >>> round(outcome_efficiency([901, 400, 1000], [39, 200, None]), 4)
    0.1811
    """
    total = _lengths(length)
    first = np.array([0.0 if t is None else t for t in first_right], dtype=np.float64)
    return float((first / total).mean())


def process_efficiency(tokens: Sequence[ArrayLike], new: Sequence[ArrayLike], length: ArrayLike | None = None) -> float:
    """How much of the responses went into solutions that were new: by another road than all before in that response.

        xi_P = mean_i  D_i / T_i,     D_i = sum_m tau_im T_im                           (arXiv:2412.21187)

    `tokens[i]` T_im and `new[i]` tau_im describe the solutions of response i in order; `length` T_i is their sum unless
    given. Whether a solution is right plays no part. Which are new is for the caller to say (the paper asks a model).

    >>> tokens = [[39, 109, 39, 29, 29, 19, 59, 578]]
    >>> round(process_efficiency(tokens, [[1, 1, 1, 1, 1, 1, 1, 0]]), 4)
    0.3585
    """
    useful = [float(np.dot(np.asarray(t, dtype=np.float64), np.asarray(n))) for t, n in zip(tokens, new, strict=True)]
    total = _lengths([np.sum(t) for t in tokens] if length is None else length)
    return float((np.array(useful) / total).mean())


def underthinking(length: ArrayLike, right_thought: Sequence[float | None]) -> float:
    """Return how early wrong responses left a thought that would have led to the answer; over wrong responses only.

        xi_UT = mean_i (1 - That_i / T_i)                                               (arXiv:2501.18585)

    `right_thought` That_i is the end, in tokens, of the first such thought; None where there was none (contributes 0).

    >>> round(underthinking([7681, 5000, 2000], [411, None, 500]), 4)
    0.5655
    """
    total = _lengths(length)
    upto = np.array([t if w is None else w for t, w in zip(total, right_thought, strict=True)], dtype=np.float64)
    return float((1 - upto / total).mean())


def review_ratio(length: ArrayLike, review: ArrayLike) -> float:
    """Return the share of a chain that looks back over what is there: the lengths of its pieces, and which are review.

    Compare within a question: hard questions have longer chains and more review alike (arXiv:2509.19284).

    >>> review_ratio([30, 10, 20], [False, True, True])
    0.5
    """
    pieces = _lengths(length)
    return float(pieces[np.asarray(review, dtype=bool)].sum() / pieces.sum())


def reflections(answers: Sequence[str | None], right: Sequence[bool]) -> dict[Reflection, int]:
    """Return what each look after the first candidate answer did to it, counted (arXiv:2510.08308).

    `answers` are the candidates of one chain in order, `right` whether each is right.

    >>> {kind: n for kind, n in reflections(["7", "7", "8", "8", "9"], [True, True, False, False, False]).items() if n}
    {'confirms right': 1, 'confirms wrong': 1, 'stays wrong': 1, 'spoils': 1}
    """
    counts: dict[Reflection, int] = dict.fromkeys(
        ("confirms right", "confirms wrong", "corrects", "stays wrong", "spoils"), 0
    )
    for before, after in zip(range(len(answers)), range(1, len(answers)), strict=False):
        if right[before]:
            counts["confirms right" if right[after] else "spoils"] += 1
        elif right[after]:
            counts["corrects"] += 1
        else:
            counts["confirms wrong" if answers[after] == answers[before] else "stays wrong"] += 1
    return counts


# Accuracy against length


@dataclass(frozen=True, kw_only=True)
class AesWeights:
    """The weights of an AES; always told with it, because its sign depends on them."""

    alpha: float = 1.0  # of the share of tokens saved
    beta: float = 3.0  # of the relative gain in accuracy
    gamma: float = 5.0  # of the relative loss in accuracy


O1_PRUNER = AesWeights()


def aes(
    length: float, accuracy: float, base_length: float, base_accuracy: float, weights: AesWeights = O1_PRUNER
) -> float:
    """Accuracy-efficiency score: tokens saved against a baseline, with gains and losses of accuracy weighed in.

        dL = (L_base - L) / L_base,   dA = (A - A_base) / A_base
        AES = alpha dL + beta |dA|  if dA >= 0,   alpha dL - gamma |dA|  otherwise      (arXiv:2501.12570)

    dA is relative. The paper's own table does not follow the second line where accuracy falls: recompute, do not quote.

    >>> round(aes(500, 0.82, 1000, 0.80), 3), round(aes(500, 0.76, 1000, 0.80), 3)
    (0.575, 0.25)
    """
    if base_accuracy <= 0 or base_length <= 0:
        raise BadInput(f"aes: a baseline of accuracy {base_accuracy} and length {base_length} has no relative change.")
    saved, gained = (base_length - length) / base_length, (accuracy - base_accuracy) / base_accuracy
    return weights.alpha * saved + (weights.beta if gained >= 0 else weights.gamma) * gained


def efficiency_score(accuracy: float, tokens: float, shortest: float, longest: float) -> float:
    """Harmonic mean of accuracy and brevity, with brevity 1 at `shortest` tokens and 0 at `longest`.

    Take the anchors from a budget or a baseline: taken from the set that is compared, as the source does, one verbose
    member changes everyone's score.

    >>> round(efficiency_score(0.9, 300, 100, 900), 4)
    0.8182
    """
    brief = 1.0 if longest == shortest else float(np.clip(1 - (tokens - shortest) / (longest - shortest), 0, 1))
    return 0.0 if accuracy + brief == 0 else 2 * accuracy * brief / (accuracy + brief)


# Budget curves


def accuracy_at(correct: ArrayLike, length: ArrayLike, budgets: ArrayLike) -> NDArray[np.float64]:
    """Accuracy at each budget when finished responses are cut after the fact: right, and at most so many tokens.

    Forcing an answer at the budget gives more; never mix the two in one figure.

    >>> accuracy_at([1, 1, 0, 1], [300, 900, 1500, 4000], [500, 1000, 2000, 4000]).tolist()
    [0.25, 0.5, 0.5, 0.75]
    """
    right, tokens = np.asarray(correct, dtype=np.float64), np.asarray(length, dtype=np.float64)
    fits = tokens[:, None] <= np.asarray(budgets, dtype=np.float64)
    return np.asarray((right[:, None] * fits).mean(0))


def area(correct: ArrayLike, length: ArrayLike, most: float, *, least: float | None = None) -> float:
    """Area under `accuracy_at`, as a share of a perfect curve: over budgets from 0 to `most`, or on a log axis.

        linear: mean_i correct_i max(0, 1 - L_i / B_max)
        log:    mean_i correct_i clip(ln(B_max / L_i) / ln(B_max / B_min), 0, 1)        with `least` B_min

    With lengths of the thinking and `most` = 1000 the first is OptimalThinkingBench's AUC_OAA (arXiv:2508.13141).

    >>> round(area([1, 1, 0, 1], [300, 900, 1500, 4000], 4000), 4)
    0.425
    """
    right, tokens = np.asarray(correct, dtype=np.float64), np.asarray(length, dtype=np.float64)
    if least is None:
        return float((right * np.maximum(0, 1 - tokens / most)).mean())
    if not 0 < least < most:
        raise BadInput(f"area: least must be above 0 and below most={most}, got {least}.")
    share = np.log(most / np.maximum(tokens, least)) / np.log(most / least)
    return float((right * np.clip(share, 0, 1)).mean())


def tokens_at(target: float, tokens: ArrayLike, accuracy: ArrayLike) -> float | None:
    """Return how many tokens a method takes to be `target` accurate, between its operating points; None: not reached.

    The points are reduced to the frontier first (a point that costs more and is no better is left out), and joined by
    straight lines, which mixing two settings at random attains. Nothing is extrapolated.

    >>> tokens_at(0.75, [1000, 2000, 4000], [0.70, 0.80, 0.85]), tokens_at(0.9, [1000, 2000], [0.7, 0.8])
    (1500.0, None)
    """
    front = frontier(tokens, accuracy)
    if not front or not front[0][1] <= target <= front[-1][1]:
        return None
    x, y = zip(*front, strict=True)
    return float(np.interp(target, y, x))


def frontier(tokens: ArrayLike, accuracy: ArrayLike) -> list[tuple[float, float]]:
    """The points (tokens, accuracy) that no other beats: none has at most as many tokens and at least the accuracy.

    >>> frontier([2000, 1000, 3000], [0.8, 0.7, 0.8])
    [(1000.0, 0.7), (2000.0, 0.8)]
    """
    front: list[tuple[float, float]] = []
    pairs = zip(np.asarray(tokens, dtype=np.float64).tolist(), np.asarray(accuracy).tolist(), strict=True)
    for x, y in sorted(pairs, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def hypervolume(tokens: ArrayLike, accuracy: ArrayLike, worst_tokens: float, worst_accuracy: float = 0.0) -> float:
    """Share of the box up to the reference point that the frontier dominates. Fix the reference once a benchmark.

    >>> hypervolume([1000, 2000, 4000], [0.70, 0.80, 0.85], 8000)
    0.7125
    """
    front = [(x, max(y, worst_accuracy)) for x, y in frontier(tokens, accuracy) if x < worst_tokens]
    ends = [x for x, _ in front[1:]] + [worst_tokens]
    covered = sum((end - x) * (y - worst_accuracy) for (x, y), end in zip(front, ends, strict=True))
    return covered / (worst_tokens * (1 - worst_accuracy))


def summary(correct: ArrayLike, length: ArrayLike, most: float) -> Mapping[str, float]:
    """Return the budget figures of one run at a glance: accuracy, mean length, and both areas up to `most` tokens."""
    tokens = np.asarray(length, dtype=np.float64)
    return {
        "accuracy": float(np.mean(np.asarray(correct, dtype=np.float64))),
        "mean_length": float(tokens.mean()),
        "area": area(correct, length, most),
        "log_area": area(correct, length, most, least=most / 100),
    }


def _lengths(values: ArrayLike) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=np.float64)
    if found.size == 0 or not (found > 0).all():
        raise BadInput("metrics: lengths must be at least one token each, and there must be some.")
    return found
