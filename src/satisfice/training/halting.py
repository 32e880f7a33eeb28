"""When to stop a training: a look at held-out problems every few steps, shown to a halter and written down.

`evaluations.jsonl` has a row per look. A halter is a pure function, so what it remembers is made again from the rows:
a killed training goes on deciding as if nothing had been. What the looks cost stands in each row.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satisfice.catalog import build, methods_of
from satisfice.core.errors import BadInput
from satisfice.core.files import replace_file
from satisfice.core.halter import GO_ON, HALTER, Decision, Halter, Observation
from satisfice.core.problem import Verdict
from satisfice.measure.intervals import bounded_mean
from satisfice.methods.halting.pos_learning_curves import LEAST_POINTS, fit_power_law
from satisfice.methods.halting.stop_when import StopWhen
from satisfice.training.rollout import Rollout

LOOKS = "evaluations.jsonl"
UNKNOWN_GAIN = 1.0  # what is taken to be left to gain before a curve can be fitted


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What a model did on the held-out problems, in their order."""

    right: NDArray[np.bool_]  # [problems]
    known: NDArray[np.bool_]  # [problems] the verdict is known
    length: NDArray[np.int64]  # [problems] tokens
    spent: int  # tokens that looking took

    def as_row(self) -> dict[str, Any]:
        """Return it as JSON: a letter per problem (right, wrong, unknown), and the lengths."""
        letters = np.where(~self.known, "u", np.where(self.right, "r", "w"))
        return {"verdicts": "".join(letters), "lengths": self.length.tolist(), "spent": self.spent}

    @staticmethod
    def of(row: Mapping[str, Any]) -> "Look":
        """Read it back."""
        letters = np.array(list(row["verdicts"]))
        return Look(
            right=letters == "r", known=letters != "u", length=np.array(row["lengths"]), spent=int(row["spent"])
        )


def look_of(rollouts: Sequence[Rollout]) -> Look:
    """Return what a model did, from one rollout per problem."""
    verdicts = [rollout.verdict for rollout in rollouts]
    return Look(
        right=np.array([v is Verdict.RIGHT for v in verdicts]),
        known=np.array([v is not Verdict.UNKNOWN for v in verdicts]),
        length=np.array([len(rollout.ids) for rollout in rollouts]), spent=sum(rollout.spent for rollout in rollouts),
    )  # fmt: skip


def metrics(step: float, now: Look, first: Look, earlier: Mapping[float, float]) -> dict[str, float]:
    """Return what a condition may name, as fractions: of the model after a step, compared with the untrained one.

    - `accuracy`, `length`: on the held-out problems; length in tokens.
    - `saving`: tokens saved. `net`: change in accuracy, `net_low` and `net_high` its exact 95 % bounds for one look.
    - `lost`: problems that the untrained model got right and this one does not.
    - `gain`: what further training may still save, by a power law through the savings so far; 1 before four looks.

    `earlier` are the savings at earlier steps, by step.
    """
    both = now.known & first.known
    change = now.right[both].astype(np.float64) - first.right[both]
    bounds = bounded_mean(change, np.ones(len(change)), -1, 1)
    if bounds.value is None or bounds.low is None or bounds.high is None:
        raise BadInput("held-out problems: not one verdict is known, so there is nothing to decide on.")
    saving = 1 - float(now.length.sum()) / max(int(first.length.sum()), 1)
    gain = UNKNOWN_GAIN
    if len(earlier) + 1 >= LEAST_POINTS:
        law = fit_power_law([*earlier, step], [*earlier.values(), saving])
        gain = law.c - law(step)
    return {
        "accuracy": float(now.right[both].mean()), "length": float(now.length.mean()), "saving": saving,
        "net": bounds.value, "net_low": bounds.low, "net_high": bounds.high, "lost": float((change < 0).mean()),
        "gain": gain,
    }  # fmt: skip


class Watch:
    """Shows evaluations to a halter and writes them down.

    What is in the file already is shown again first, up to the step `until`: after a kill the halter knows what it
    knew. Of several processes one `writes`.
    """

    def __init__(
        self, halter: Halter, file: Path | None = None, *, until: float | None = None, writes: bool = True
    ) -> None:
        self.halter, self.file, self.writes = halter, file, writes
        self.state, self.decision, self.rows = halter.init(), GO_ON, list[dict[str, Any]]()
        for row in _rows(file):
            if until is None or row["step"] <= until:
                self._show(row)
        if writes and file is not None and file.exists():
            replace_file(file, "".join(json.dumps(row) + "\n" for row in self.rows))

    @property
    def spent(self) -> float:
        """What all looks took."""
        return float(sum(row["cost"] for row in self.rows))

    def seen(self, step: float, values: Mapping[str, float], *, cost: float = 0.0, more: Any = None) -> Decision:
        """Show an evaluation; `more` is written beside it."""
        row = {"step": step, "metrics": dict(values), "cost": cost, **(more or {})}
        self._show(row)
        row |= {"stop": self.decision.stop, "why": self.decision.why}
        if self.writes and self.file is not None:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        return self.decision

    def _show(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if row["step"] > 0:  # the untrained model is what others are compared with
            seen = Observation(at=float(row["step"]), metrics=row["metrics"], cost=float(row["cost"]))
            self.state, self.decision = self.halter(self.state, seen)


class HeldOut:
    """Looks at a model on held-out problems and asks a halter; framework-neutral: give it what a model did."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @property
    def is_begun(self) -> bool:
        """Whether the untrained model was looked at."""
        return bool(self.watch.rows)

    def summary(self) -> dict[str, Any]:
        """Return how it ended: JSON-able."""
        said = self.watch.decision
        return {"stopped": said.stop, "why": said.why, "looks": len(self.watch.rows), "tokens": self.watch.spent}

    def see(self, step: int, look: Look) -> Decision:
        """Take a look at the model after a step (0: untrained) and return what the halter says."""
        rows = self.watch.rows
        first = Look.of(rows[0]) if rows else look
        earlier = {float(row["step"]): float(row["metrics"]["saving"]) for row in rows if row["step"] > 0}
        values = metrics(step, look, first, earlier)
        return self.watch.seen(step, values, cost=float(look.spent), more=look.as_row())


def halter_of(text: str, *, allow_files: bool = False) -> Halter:
    """Return the halter that a text names: a spec (`patience:3`), or a condition (`net<-0.01 or gain<0.005`).

    Raises:
        BadInput: neither.
    """
    name = re.match(r"\s*([\w./-]+)", text)
    if name is not None and (name[1] in methods_of(HALTER) or ".py" in name[1]):
        return build(text, HALTER, allow_files=allow_files)
    return StopWhen(condition=text)


def _rows(file: Path | None) -> list[dict[str, Any]]:
    """Return the whole rows of a file; a torn last line is left out."""
    if file is None or not file.exists():
        return []
    lines = file.read_text("utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]
