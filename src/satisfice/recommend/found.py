"""What a search found, as it is told and written down: `recommendation.json`, and `serve.toml` for the gateway."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satisfice.core.errors import BadInput
from satisfice.core.files import clean, replace_file
from satisfice.measure.drift import Reference
from satisfice.measure.promises import upper_bound
from satisfice.recommend.search import Choice, Goal, more_problems
from satisfice.recommend.tables import Outcomes, Table

SCHEMA_VERSION = 2
RECOMMENDATION, SERVE = "recommendation.json", "serve.toml"


@dataclass(frozen=True, kw_only=True)
class Floor:
    """How often two full answers of the model to one problem differ: what no rule can be held to."""

    changed: tuple[int, ...]  # class by class
    problems: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A recommendation, as it is written down and told."""

    goal: Goal
    choice: Choice
    classes: tuple[str, ...]
    problems: tuple[int, ...]  # that the promise rests on, class by class
    right: tuple[float, ...]  # share that the full chains answer rightly, class by class
    savings: tuple[float, ...]  # of the chosen setting, class by class
    bounds: tuple[float, float]  # 95 % interval of the saving over all classes
    expected: Mapping[str, float]  # saving to be expected, by ladder, from the problems to choose on; chosen one first
    more: int | None  # where nothing may be used: problems per class that the safest setting would take; None: never
    runner_up: str = ""  # the best setting of the ladder that came second
    changed: tuple[int, ...] = ()  # answers that the chosen setting changes, class by class
    changed_most: float | None = None  # bound above the share that it changes, of the class where most are
    floor: Floor | None = None
    traffic: Mapping[str, Reference] = field(default_factory=dict)  # what requests were like, by what is watched

    @property
    def reason(self) -> str:
        """Why nothing may be used; "" where something may."""
        if self.choice.setting is not None:
            return ""
        if any(one.passed for one in self.choice.tested):
            return "Settings that keep the promise save next to nothing on these problems."
        first = self.choice.tested[0]
        lost = ", ".join(f"{n} of {size}" for n, size in zip(first.lost, self.problems, strict=True))
        more = (
            "More problems would not help: it loses more than that."
            if self.more is None
            else f"With {self.more} problems per task it could keep it, if it goes on losing as few."
        )
        return f"The safest setting, {first.setting}, loses {lost} and cannot be promised. {more}"

    @property
    def why_not_second(self) -> str:
        """Why the runner-up was not chosen; "" where there is none."""
        if not self.runner_up or len(self.expected) < 2:
            return ""
        first, second, *_ = self.expected.values()
        if first <= 0:
            return f"Second came {self.runner_up}; there were too few problems to choose on to tell by how much."
        least = "nothing that can be promised" if second <= 0 else f"{second:.1%}"
        return (
            f"Second came {self.runner_up}: its ladder let expect {least} saved where this one let expect {first:.1%}, "
            "on the problems to choose on."
        )


def found_from(
    choice: Choice, goal: Goal, table: Table, settings: Sequence[str], right: NDArray[Any], classes: Sequence[str],
    expected: Mapping[str, float],
) -> Found:  # fmt: skip
    """Put together what the search came to on the problems of the promise; `right` `[problems]`: the full chains'."""
    sizes = np.bincount(table.classes).tolist()
    savings, bounds = [0.0] * len(classes), (0.0, 0.0)
    if choice.setting is not None:
        row = table.spent[list(settings).index(choice.setting)]
        savings = [
            1 - float(row[table.classes == n].sum() / table.full[table.classes == n].sum()) for n in range(len(classes))
        ]
        bounds = saving_interval(row, table.full)
    more = None
    if choice.tested and not choice.tested[0].passed:
        needed = [more_problems(lost, size, goal) for lost, size in zip(choice.tested[0].lost, sizes, strict=True)]
        more = None if None in needed else max(one for one in needed if one is not None)
    return Found(
        goal=goal, choice=choice, classes=tuple(classes), problems=tuple(sizes),
        right=tuple(float(right[table.classes == n].mean()) for n in range(len(classes))), savings=tuple(savings),
        bounds=bounds, expected=expected, more=more,
    )  # fmt: skip


def changes(ours: Outcomes, full: Outcomes, of: NDArray[Any], doubt: float) -> tuple[tuple[int, ...], float]:
    """Return how many answers a setting changes, class by class, and the largest bound above the share of a class."""
    changed = ours.losses(full, "changed") > 0
    counts = tuple(int(n) for n in np.bincount(of, weights=changed, minlength=int(of.max()) + 1))
    return counts, max(upper_bound(n, int(size), doubt) for n, size in zip(counts, np.bincount(of), strict=True))


def saving_interval(spent: NDArray[Any], full: NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % interval of a saving, by the bootstrap over problems."""
    from scipy.stats import bootstrap

    got = bootstrap(
        (spent, full), lambda a, b, axis: 1 - a.sum(axis=axis) / b.sum(axis=axis), paired=True, vectorized=True,
        n_resamples=2_000, rng=np.random.default_rng(0), method="percentile",
    )  # fmt: skip
    return float(got.confidence_interval.low), float(got.confidence_interval.high)


def write_found(found: Found, config: Mapping[str, Any], out: Path) -> None:
    """Write a recommendation of a recording with this config; what an earlier search left is replaced or removed."""
    told = clean(
        {
            "schema_version": SCHEMA_VERSION, "model": config["model"], "weights": config.get("weights"),
            "tasks": config["tasks"], "split": config["split"], "recording": config["problems"],
            "reason": found.reason, **asdict(found),
        }
    )  # fmt: skip
    replace_file(out / RECOMMENDATION, json.dumps(told, indent=1) + "\n")
    if found.choice.setting is None:
        (out / SERVE).unlink(missing_ok=True)  # one of an earlier search would still be served
    else:
        replace_file(out / SERVE, serve_file(found, str(config["model"]), config.get("weights")))


def read_found(out: Path) -> dict[str, Any]:
    """Return the `recommendation.json` of a folder.

    Raises:
        BadInput: there is none that this release reads, or nothing was recommended.
    """
    path = out / RECOMMENDATION
    try:
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
        version, setting = told["schema_version"], told["choice"]["setting"]
    except FileNotFoundError:
        raise BadInput(f"out: {out} holds no recommendation. Make one with satisfice recommend.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path} cannot be read: {error}. Make it anew with satisfice recommend.") from error
    if version != SCHEMA_VERSION:
        raise BadInput(f"{path} has schema_version {version!r}, and this release reads {SCHEMA_VERSION}. Make it anew.")
    if setting is None:
        raise BadInput(f"{path}: nothing was recommended, so there is nothing to check.")
    return told


def serve_file(found: Found, model: str, weights: str | None) -> str:
    """Return the text of the file that `satisfice serve --config` takes."""
    key, value = ("upstream", [model]) if model.startswith(("http://", "https://")) else ("model", model)
    rows: dict[str, Any] = {
        "loss": found.goal.loss, "most": found.goal.most, "confidence": round(1 - found.goal.doubt, 6),
        "classes": list(found.classes), "problems": list(found.problems), "saving": round(found.choice.saving, 4),
        "saving_low": round(found.bounds[0], 4), "saving_high": round(found.bounds[1], 4), "weights": weights or "",
        "measured": datetime.now(UTC).date().isoformat(),
    }  # fmt: skip
    if found.changed_most is not None and found.changed_most < 1:
        rows["changed_most"] = round(found.changed_most, 4)
    promise = "\n".join(f"{name} = {json.dumps(row)}" for name, row in rows.items())
    traffic = "\n".join(
        f"{name} = {{edges = {json.dumps([round(edge, 6) for edge in one.edges])}, counts = {json.dumps(one.counts)}}}"
        for name, one in found.traffic.items()
    )
    return (
        f"# By satisfice recommend: {found.goal}. Run it with: satisfice serve --config FILE\n"
        f"{key} = {json.dumps(value)}\npolicy = {json.dumps(found.choice.setting)}\n\n[promise]\n{promise}\n"
        f"\n[promise.traffic]\n{traffic}\n"
    )
