"""The report's charts: accuracy against tokens, savings by difficulty, and where rules stop."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

from satisfice.measure.subject import Subject, subject_of
from satisfice.report.samples import FULL, Row, Stops, cumulate, is_baseline, is_cap

Chart = alt.Chart | alt.LayerChart | alt.FacetChart

COLORS = ("#2f7fc1", "#d55e00", "#009e73", "#b5669b", "#b8860b", "#3aa6c8", "#8c6bb1", "#7a9a01")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-left", "triangle-right")
DASHES = ([1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 4], [2, 5], [6, 2, 2, 2])
GREY = "#7d7d7d"
LOSS = "#c8443a"

HALO = "halo"
"""Name of the style of what lies under a label; its colour is that of the page."""

_VERSION = alt.SCHEMA_VERSION.lstrip("v").rpartition(".")[0]  # "6.4": the one whose runtime is put into the page


class Marks:
    """One colour, symbol and dash for each subject, the same in every chart.

    Of one model: a colour for each rule, and grey for baselines. Of several: a colour for each model and sampler, and a
    symbol for each rule.
    """

    def __init__(self, subjects: Sequence[Subject]) -> None:
        rules = dict.fromkeys(subject.policy for subject in subjects if not is_baseline(subject.policy))
        self._rule = {policy: i for i, policy in enumerate(rules)}
        self._group = {group: i for i, group in enumerate(dict.fromkeys(subject.under(FULL) for subject in subjects))}

    @property
    def groups(self) -> list[tuple[str, str]]:
        """Each model and sampler with its colour; none where there is one."""
        found = [(f"{one.model}, {one.sampler}" if one.sampler else one.model, self.color(one)) for one in self._group]
        return found if len(found) > 1 else []

    def color(self, subject: Subject) -> str:
        """Return a colour that can be read on white and on black."""
        if len(self._group) > 1:
            return COLORS[self._group[subject.under(FULL)] % len(COLORS)]
        return COLORS[self._rule[subject.policy] % len(COLORS)] if subject.policy in self._rule else GREY

    def shape(self, subject: Subject) -> str:
        """Return a Vega symbol."""
        if subject.policy not in self._rule:
            return {FULL: "diamond", "first-cue": "triangle-up"}.get(subject.policy, "cross")
        return SHAPES[self._rule[subject.policy] % len(SHAPES)]

    def dash(self, subject: Subject) -> list[int]:
        """Return lengths of strokes and gaps, in pixels."""
        if subject.policy not in self._rule:
            return [1, 0] if subject.policy == FULL else [1, 3]
        return DASHES[self._rule[subject.policy] % len(DASHES)]


@functools.cache
def runtime() -> str:
    """Return the JavaScript that draws the charts, to be put into the page: nothing is fetched."""
    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=_VERSION)
    return script


AXES: Mapping[str, str] = {
    "spent": "tokens spent per problem (mean)",
    "flops": "floating-point operations per problem (mean)",
    "wall_s": "seconds per problem beside many others (mean)",
}
"""What a frontier can be drawn over, with its title."""


def axes_of(rows: Sequence[Row]) -> list[str]:
    """Return what every row of a table has a number for, tokens first."""
    drawn = [row for row in rows if row["accuracy"] is not None and not row["errors"]]
    return [axis for axis in AXES if axis == "spent" or (drawn and all(row.get(axis) for row in drawn))]


def frontier(
    rows: Sequence[Row], labels: Mapping[Subject, str], marks: Marks, *, width: int | str = "container",
    axis: str = "spent",
) -> Chart:  # fmt: skip
    """Accuracy against mean tokens spent per problem (or what `axis` names), for the rows of one task.

    Bars are 95 % intervals: of accuracy, and of the saving against the baseline carried over to tokens. A filled symbol
    is a subject that may claim a saving. The caps of a model are joined by a line. A policy that failed on some
    problem is not drawn. A policy below half the best accuracy stands at the lower
    edge with its value, so that it does not press the others together.
    """
    full = next((row for row in rows if row["is_baseline"]), None)
    points = [
        _point(row, full, labels, marks, axis) for row in rows if row["accuracy"] is not None and not row["errors"]
    ]
    right = max((point["spent_high"] for point in points), default=1.0) * 1.04 or 1.0
    floor = max((point["accuracy"] for point in points), default=0) / 2
    heights = [value for point in points if point["accuracy"] >= floor for value in (point["low"], point["high"])]
    bottom, top = max(0.0, min(heights, default=0) - 0.03), min(1.0, max(heights, default=1) + 0.03)
    for point in points:
        if point["accuracy"] < floor:  # far below all others: it stands at the lower edge with its value
            point["label"] += f" ↓ {point['accuracy']:.0%}"
            point["accuracy"] = point["low"] = point["high"] = bottom
    title = AXES[axis]
    ticks = alt.Axis(tickCount=6, format="~s") if axis == "flops" else alt.Axis(tickCount=6)
    x = alt.X("spent:Q", title=title, scale=alt.Scale(domain=[0, right], nice=False), axis=ticks)
    y = alt.Y("accuracy:Q", title="accuracy", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[bottom, top]))
    base = _over(points)
    color = alt.Color("color:N", scale=None)
    tips = [
        alt.Tooltip("label:N", title="policy"),
        alt.Tooltip("group:N", title="model"),
        alt.Tooltip("spent:Q", title=title, format=".3s" if axis == "flops" else ".1f"),
        alt.Tooltip("shown:N", title="accuracy"),
        alt.Tooltip("saving:N", title="saving"),
        alt.Tooltip("verdict:N", title="verdict"),
    ]
    caps = _over([p for p in points if p["on_line"] and p["accuracy"] > bottom])
    layers = [
        caps.mark_line(color=GREY, strokeDash=[4, 3], strokeWidth=1.2).encode(x, y, alt.Detail("group:N")),
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(
            x, alt.Y("low:Q", title="accuracy"), alt.Y2("high:Q"), color
        ),
        base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(
            alt.X("spent_low:Q", title=title), y, color, alt.X2("spent_high:Q")
        ),
        base.mark_point(size=85, strokeWidth=1.8).encode(
            x, y, color, alt.Shape("shape:N", scale=None), alt.Fill("fill:N", scale=None), tooltip=tips
        ),
        *(
            _over([point])
            .mark_text(fontSize=12, style=style, **place)
            .encode(x, y, alt.Text("label:N"), *([] if style else [color]))
            for point, place in zip(points, _places(points, right, bottom, top), strict=True)
            for style in (HALO, "")  # each label stands on a blurred copy of itself, so that bars do not cross it
        ),
    ]
    return alt.layer(*layers).properties(width=width, height=340)


def savings(rows: Sequence[Row], labels: Mapping[Subject, str], tiers: Sequence[str]) -> Chart:
    """Saving against `full` by difficulty, for the tasks of one family: a line per policy, a symbol per tier."""
    points = [
        {
            "label": labels[subject_of(row)], "tier": row["tier"], "verdict": row["verdict"],
            "saving": row["saving"], "low": row["saving_low"], "high": row["saving_high"],
            "fill": _tier_color(row["tier"], tiers) if row["verdict"] == "saves" else "transparent",
        }
        for row in rows
        if not row["is_baseline"] and row["saving_low"] is not None
    ]  # fmt: skip
    order = list(dict.fromkeys(point["label"] for point in points))
    y = alt.Y("label:N", title=None, sort=order, axis=alt.Axis(labelLimit=210, labelExpr="split(datum.label, ': ')"))
    offset = alt.YOffset("tier:N", sort=list(tiers))
    legend = alt.Legend(title=None, orient="top") if len(tiers) > 1 else None
    known = list(tiers)
    color = alt.Color(
        "tier:N", sort=known, legend=legend,
        scale=alt.Scale(domain=known, range=[_tier_color(tier, tiers) for tier in known]),
    )  # fmt: skip
    shapes = alt.Scale(domain=known, range=[SHAPES[i % len(SHAPES)] for i in range(len(known))])
    shape = alt.Shape("tier:N", sort=known, legend=legend, scale=shapes)
    base = _over(points)
    title = "tokens saved against full"
    tips = [
        alt.Tooltip("label:N", title="policy"), alt.Tooltip("tier:N", title="difficulty"),
        alt.Tooltip("saving:Q", format=".1%"), alt.Tooltip("low:Q", format=".1%", title="at least"),
        alt.Tooltip("high:Q", format=".1%", title="at most"), alt.Tooltip("verdict:N"),
    ]  # fmt: skip
    zero = _over([{"x": 0}]).mark_rule(color=GREY).encode(alt.X("x:Q", title=title))
    interval = base.mark_rule(strokeWidth=1.5, opacity=0.65).encode(
        alt.X("low:Q", title=title, axis=alt.Axis(format="%", tickCount=6)), y, offset, color, alt.X2("high:Q")
    )
    dots = base.mark_point(size=70, strokeWidth=1.8).encode(
        alt.X("saving:Q"), y, offset, color, shape, alt.Fill("fill:N", scale=None), tooltip=tips
    )
    losing = _over([point for point in points if point["verdict"] == "worse"])
    crosses = losing.mark_text(text="✗", align="left", dx=5, fontSize=13, color=LOSS).encode(alt.X("high:Q"), y, offset)
    return alt.layer(zero, interval, dots, crosses).properties(width="container", height=alt.Step(16))


def stops(found: Sequence[Stops], labels: Mapping[Subject, str], marks: Marks) -> Chart:
    """Share of problems that have stopped by a number of thinking tokens, and the share whose answer stands by then."""
    first = "first right answer"
    lines: list[dict[str, Any]] = []
    names: dict[str, tuple[str, list[int]]] = {first: ("#c43b6b", [3, 3])}
    lines += [{"line": first, "x": x, "y": y} for x, y in cumulate(found[0].first_right, found[0].pairs)]
    for one in found:
        name = labels[one.subject]
        names[name] = (marks.color(one.subject), marks.dash(one.subject))
        lines += [{"line": name, "x": x, "y": y} for x, y in cumulate(one.thinking, one.pairs)]
    order = list(names)
    legend = alt.Legend(
        title=None,
        orient="bottom",
        columns=1 if marks.groups else 2,
        symbolType="stroke",
        symbolSize=420,
        symbolStrokeWidth=2,
        labelLimit=240,
    )
    color = alt.Scale(domain=order, range=[names[name][0] for name in order])
    dash = alt.Scale(domain=order, range=[names[name][1] for name in order])
    chart: alt.Chart = (
        _over(lines)
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(
            alt.X(
                "x:Q", title="tokens of thinking", scale=alt.Scale(domainMin=0, nice=False), axis=alt.Axis(tickCount=6)
            ),
            alt.Y("y:Q", title="share of problems", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            alt.Color("line:N", scale=color, sort=order, legend=legend),
            alt.StrokeDash("line:N", scale=dash, sort=order, legend=legend),
            tooltip=[
                alt.Tooltip("line:N", title=" "),
                alt.Tooltip("x:Q", title="tokens"),
                alt.Tooltip("y:Q", title="share", format=".0%"),
            ],
        )
        .properties(width="container", height=300)
    )
    return chart


def as_png(charts: Mapping[str, Chart]) -> bytes:
    """Charts with their titles, two in a row, as a picture on white."""
    titled = [chart.properties(title=title) for title, chart in charts.items()]
    sheet = alt.concat(*titled, columns=2).configure(
        background="white",
        view=alt.ViewConfig(stroke=None),
        style={HALO: {"stroke": "white", "strokeWidth": 4, "opacity": 0.8}},
    )
    png: bytes = vl_convert.vegalite_to_png(sheet.to_json(validate=False), vl_version=_VERSION, scale=2)
    return png


def _over(values: Sequence[Mapping[str, Any]]) -> alt.Chart:
    """Return a chart whose numbers stand in it."""
    return alt.Chart(alt.Data(values=list(values)))


def _point(
    row: Row, full: Row | None, labels: Mapping[Subject, str], marks: Marks, axis: str
) -> dict[str, Any]:  # fmt: skip
    subject = subject_of(row)
    color, baseline = marks.color(subject), row["is_baseline"]
    spent = low = high = row[axis]
    if (
        axis == "spent"
        and full is not None
        and full["spent"] is not None
        and not baseline
        and row["saving_low"] is not None
    ):
        low, high = (full["spent"] * (1 - row[end]) for end in ("saving_high", "saving_low"))
    saving = "–" if baseline or row["saving"] is None else f"{row['saving']:.1%}"
    return {
        "policy": subject.policy, "label": labels[subject], "group": f"{subject.model} {subject.sampler}".strip(),
        "spent": spent, "spent_low": low, "spent_high": high,
        "accuracy": row["accuracy"], "low": row["accuracy_low"], "high": row["accuracy_high"],
        "shown": f"{row['accuracy']:.1%} ({row['accuracy_low']:.1%} to {row['accuracy_high']:.1%})",
        "saving": saving, "verdict": row["verdict"], "color": color, "shape": marks.shape(subject),
        "on_line": is_cap(subject.policy) or subject.policy == FULL,
        "fill": color if row["verdict"] in ("saves", "baseline") else "transparent",
    }  # fmt: skip


def _tier_color(tier: str, tiers: Sequence[str]) -> str:
    return COLORS[list(tiers).index(tier) % len(COLORS)]


def _places(points: Sequence[Mapping[str, Any]], right: float, bottom: float, top: float) -> list[dict[str, Any]]:
    """Return where each label goes, so that labels do not cover one another or a symbol even on a narrow screen.

    Greedy over a few places around the symbol, in pixels of a plot 270 wide and 340 high: in a wider one points only
    move apart.
    """
    width, height = 270.0, 340.0
    spots = [
        (width * p["spent"] / right, height * (1 - (p["accuracy"] - bottom) / max(top - bottom, 1e-9))) for p in points
    ]
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in spots]
    chosen: list[dict[str, Any]] = []
    for point, (x, y) in zip(points, spots, strict=True):
        size = 6.4 * len(point["label"])
        options = []
        for lift in (-13, 13, 0, -26, 26, -39, 39):
            side = 10 if lift == 0 else 5
            options += [("left", side, lift, x + side), ("right", -side, lift, x - side - size)]
        scored = []
        for rank, (align, dx, dy, begin) in enumerate(options):
            box = (begin, y + dy - 6, begin + size, y + dy + 6)
            outside = max(0.0, -box[0]) + max(0.0, box[2] - width) + max(0.0, -box[1]) + max(0.0, box[3] - height)
            scored.append((sum(_overlap(box, other) for other in taken) + 12 * outside + rank, align, dx, dy, box))
        _, align, dx, dy, box = min(scored, key=lambda option: option[0])
        taken.append(box)
        chosen.append({"align": align, "dx": dx, "dy": dy, "baseline": "middle"})
    return chosen


Box = tuple[float, float, float, float]


def _overlap(a: Box, b: Box) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
