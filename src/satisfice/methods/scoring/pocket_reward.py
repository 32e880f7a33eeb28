"""A reward model for the pocket reasoner's chains: six numbers read off the text, and a logistic regression."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from satisfice.core.card import Card

WEIGHTS = "pocket_reward.json"
FEATURES = ("confirmed", "refuted", "open doubt", "restarts", "answers that differ", "answer confirmed")
_VERDICT = re.compile(r" (ok|no)$", re.MULTILINE)
_STATED = re.compile(r"^so (-?\d+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class PocketReward:
    """Rate a chain of the pocket reasoner by how its checks went: the probability that it will end right.

    It reads verdicts of checks (`ok`, `no`) and stated answers (`so 417`) and nothing of the arithmetic itself: before
    the first check all chains look alike to it. It is weak, and says so (`about`). Trained on the calibration split by
    `satisfice.made.pocket_reward`; what it was measured to know is in the file of its weights. It means nothing
    for any other model.
    """

    card: ClassVar = Card(
        id="pocket-reward",
        paper="",
        where="a logistic regression on the form of the pocket reasoner's traces, trained here",
        needs=frozenset(),
        fidelity="standard",
    )

    def __call__(self, question: str, texts: Sequence[str]) -> list[float]:
        weights, bias = _weights()
        return [float(1 / (1 + np.exp(-(features(text) @ weights + bias)))) for text in texts]


def features(text: str) -> NDArray[np.float64]:
    """Return the numbers in `FEATURES`, of a chain that may be cut anywhere. The last line counts once it has ended.

    >>> features("7*6=41\\nso 41\\nHmm, back 41 42 no\\nWait, again 7*6=42\\nso 42\\nCheck back 42 42 ok\\n").tolist()
    [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    """
    whole = text[: text.rfind("\n") + 1]
    verdicts = [(m.start(), m[1] == "ok") for m in _VERDICT.finditer(whole)]
    stated = [(m.start(), m[1]) for m in _STATED.finditer(whole)]
    since = [good for at, good in verdicts if stated and at > stated[-1][0]]
    return np.array(
        [
            min(4, sum(good for _, good in verdicts)),
            min(4, sum(not good for _, good in verdicts)),
            float(bool(verdicts) and not verdicts[-1][1]),
            min(4, max(0, len(stated) - 1)),
            float(len({answer for _, answer in stated}) > 1),
            float(bool(since) and all(since)),
        ],
        dtype=np.float64,
    )


def about() -> Mapping[str, Any]:
    """Return what the weights were trained on, and what they were measured to know."""
    return dict(_file()["about"])


@lru_cache(1)
def _file() -> Mapping[str, Any]:
    text = files("satisfice.methods.scoring").joinpath(WEIGHTS).read_text("utf-8")
    return dict(json.loads(text))


@lru_cache(1)
def _weights() -> tuple[NDArray[np.float64], float]:
    row = _file()
    return np.array([row["weights"][name] for name in FEATURES]), float(row["bias"])
