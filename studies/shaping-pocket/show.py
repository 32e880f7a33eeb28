"""How the study of training for length is shown: its tables and its figure."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import altair as alt

LEAST = -8  # points; what is worse is drawn at the edge


def tables(
    screened: Mapping[str, Mapping[str, float]],
    longer: Mapping[str, Mapping[int, Mapping[str, float]]],
    confirmed: Iterable[Mapping[str, Any]],
) -> str:
    """The three stages as Markdown."""
    keys = list(dict.fromkeys(key for row in screened.values() for key in row))
    saved = {name: sum(row[key] for key in keys if key.endswith("saving")) for name, row in screened.items()}
    names = " | ".join(key.replace("@1 accuracy", ", points").replace("@1 saving", ", saved") for key in keys)

    def cells(row: Mapping[str, float]) -> str:
        return " | ".join(f"{100 * row[k]:+.1f}" if k.endswith("accuracy") else f"{100 * row[k]:.0f} %" for k in keys)

    lines = [
        "**Screening** (one seed, calibration split)",
        "",
        f"| method | {names} |",
        "|" + " --- |" * (1 + len(keys)),
    ]
    lines += [f"| `{name}` | {cells(screened[name])} |" for name in sorted(screened, key=lambda name: -saved[name])]
    if longer:
        lines += ["", "**Trained longer** (another seed, calibration split)", "", f"| method | steps | {names} |"]
        lines += ["|" + " --- |" * (2 + len(keys))]
        lines += [
            f"| `{name}` | {step} | {cells(row)} |" for name, rows in longer.items() for step, row in rows.items()
        ]
    rows = list(confirmed)
    for task in dict.fromkeys(row["task"] for row in rows):
        lines += [
            "", f"**{task.partition('@')[0]}, confirmed**", "",
            "| method | steps | rule | seeds x n | accuracy | difference, points (95 %) | tokens | saving (95 %) |",
            "|" + " --- |" * 8,
        ]  # fmt: skip
        for row in sorted((row for row in rows if row["task"] == task), key=lambda row: -row["saving"]):
            low, high = 100 * row["delta_accuracy_low"], 100 * row["delta_accuracy_high"]
            difference = f"{100 * row['delta_accuracy']:+.1f} ({low:+.1f} to {high:+.1f})"
            saving = f"{100 * row['saving']:.1f} % ({100 * row['saving_low']:.1f} to {100 * row['saving_high']:.1f})"
            cells = (f"`{row['method']}`", str(row["steps"]), f"`{row['policy']}`", f"{row['seeds']} x {row['n']}")
            figures = (f"{100 * row['accuracy']:.1f}", difference, f"{row['spent']:.0f}", saving)
            lines.append("| " + " | ".join((*cells, *figures)) + " |")
    return "\n".join(lines)


def draw(
    screened: Mapping[str, Mapping[str, float]], curves: Mapping[str, Any], longer: Mapping[str, Any], path: Path
) -> None:
    """What each method saved and lost in the screening, and how length and accuracy went during the trainings.

    `longer` are those of the methods that were confirmed, which are drawn in colour.
    """
    points = [
        {
            "method": name, "task": key.partition("@")[0], "saving": 100 * row[key],
            "difference": 100 * row[key.replace("saving", "accuracy")],
        }
        for name, row in screened.items() for key in row if key.endswith("saving")
    ]  # fmt: skip
    saved = {name: sum(row["saving"] for row in points if row["method"] == name) for name in screened}
    order = sorted(screened, key=lambda name: -saved[name])
    base = alt.Chart(alt.Data(values=points)).encode(
        y=alt.Y("method:N", sort=order, title=None, axis=alt.Axis(grid=True, labelFontSize=11)),
        color=alt.Color("task:N", title=None, legend=alt.Legend(orient="top")),
    )
    height = 17 * len(screened)
    saving = base.mark_point(filled=True, size=65, opacity=0.85).encode(x=alt.X("saving:Q", title="tokens saved, %"))
    axis = alt.X(
        "shown:Q", title=f"accuracy difference, points (those below {LEAST} at the edge, with their figure)",
        scale=alt.Scale(domain=[LEAST, 3]),
    )  # fmt: skip
    base = base.transform_calculate(shown=f"max(datum.difference, {LEAST})", label="format(datum.difference, '.0f')")
    lost = base.mark_point(filled=True, size=65, opacity=0.85).encode(x=axis)
    beyond = base.transform_filter(f"datum.difference < {LEAST}").mark_text(dx=8, align="left", fontSize=10)
    allowed = alt.Chart(alt.Data(values=[{"x": -2}])).mark_rule(strokeDash=[4, 3], color="gray").encode(x="x:Q")
    dots = saving.properties(width=330, height=height) | (
        lost + beyond.encode(x=axis, text="label:N") + allowed
    ).properties(width=330, height=height)
    others, ours = (
        alt.Data(values=[{"method": name, **row} for name, steps in lines.items() for row in steps])
        for lines in (curves, longer)
    )
    color = alt.Color("method:N", title=None, sort=list(longer), scale=alt.Scale(scheme="tableau10"))
    panels = [
        (
            _curves(others, *what).mark_line(color="#ccc", strokeWidth=1)
            + _curves(ours, *what).mark_line(strokeWidth=2, clip=True).encode(color=color)
        ).properties(width=400, height=230)
        for what in (("tokens", "tokens a rollout"), ("accuracy", "share right"))
    ]
    alt.hconcat(dots, alt.vconcat(*panels)).resolve_scale(color="independent").save(str(path), ppi=110)


def _curves(data: Any, field: str, title: str) -> Any:
    """A mean over five steps."""
    return (
        alt.Chart(data)
        .transform_window(smooth=f"mean({field})", frame=[-4, 0], groupby=["method"])
        .encode(x=alt.X("step:Q"), y=alt.Y("smooth:Q", title=title, scale=alt.Scale(zero=False)), detail="method:N")
    )
