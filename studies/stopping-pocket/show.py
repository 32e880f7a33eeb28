"""Tables and figure of the study."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
from rules import OTHERS, TIERS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from library.aes import O1_PRUNER, aes

CLAIM = 2000  # problems that it takes to say that a rule saves
COLUMNS = (
    "task", "policy", "how", "n", "accuracy", "accuracy_low", "accuracy_high", "kept", "spent", "probe", "injected",
    "dropped", "truncated_rate", "no_answer_rate", "unknown_rate", "delta_accuracy", "delta_accuracy_low",
    "delta_accuracy_high", "saving", "saving_low", "saving_high", "mcnemar_p", "margin", "verdict",
)  # fmt: skip


def collect(rows: Sequence[Mapping[str, Any]], extra: Mapping[str, Any], artefacts: Path) -> dict[str, Any]:
    """Return what results.json says."""
    full = {(row["task"], row["how"]): row for row in rows if row["policy"] == "full"}
    kept = []
    for row in rows:
        base = full[row["task"], row["how"]]
        short = {name: _round(row[name]) for name in COLUMNS} | {"policy": _short(row["policy"], artefacts)}
        short["aes"] = _round(aes(row["spent"], row["accuracy"], base["spent"], base["accuracy"]))
        kept.append(short)
    tidy = json.loads(json.dumps(extra).replace(str(artefacts) + "/", "").replace('\\"', ""))
    return {"schema_version": 1, "rows": kept, **tidy}


def tables(results: Mapping[str, Any]) -> str:
    """Both tiers, the other tasks, and the promises."""
    rows = results["rows"]
    return "\n\n".join([*(tier_table(rows, task) for task in TIERS), others_table(rows), promise_table(results)])


def tier_table(rows: Sequence[Mapping[str, Any]], task: str) -> str:
    """Everything on one tier, in the order of what is saved."""
    here = [row for row in rows if row["task"] == f"{task}@1" or row["task"] == task]
    lines = [
        f"**{task}** (AES with weights {O1_PRUNER.alpha:g}, {O1_PRUNER.beta:g}, {O1_PRUNER.gamma:g})", "",
        "| rule | how | n | accuracy | spent | saving (95 %) | accuracy difference, points (95 %) | AES | verdict |",
        "|" + " --- |" * 9,
    ]  # fmt: skip
    for row in sorted(here, key=lambda row: (row["how"] == "live", -(row["saving"] or 0))):
        cells = [
            f"`{row['policy']}`", row["how"], row["n"], f"{100 * row['accuracy']:.1f}", f"{row['spent']:.0f}",
            _span(row, "saving", 100, " %"), _span(row, "delta_accuracy", 100, "", sign=True), f"{row['aes']:.2f}",
            "no claim" if row["verdict"] == "saves" and row["n"] < CLAIM else row["verdict"],
        ]  # fmt: skip
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def others_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Saving and accuracy difference of the rules on the tasks that settings were not chosen on."""
    cells = {(row["how"], row["policy"], row["task"].partition("@")[0]): row for row in rows}
    tasks = [task for task in OTHERS if ("replayed", "full", task) in cells]
    if not tasks:
        return ""
    n = {how: max(row["n"] for (its, _, task), row in cells.items() if its == how and task in OTHERS)
         for how in dict.fromkeys(its for its, _, task in cells if task in OTHERS)}  # fmt: skip
    lines = [
        f"**The other tasks** ({', '.join(f'{how}: {count} problems each' for how, count in n.items())}; no claims): "
        "saving in percent / accuracy difference in points", "",
        "| rule | how | " + " | ".join(tasks) + " |", "|" + " --- |" * (2 + len(tasks)),
        "| accuracy of `full` | | " + " | ".join(f"{100 * cells['replayed', 'full', t]['accuracy']:.1f}" for t in tasks)
        + " |",
    ]  # fmt: skip
    for how, policy in dict.fromkeys((how, policy) for how, policy, task in cells if task in OTHERS):
        if policy != "full":
            row = [cells.get((how, policy, t)) for t in tasks]
            told = [f"{100 * r['saving']:.0f} / {100 * r['delta_accuracy']:+.1f}" if r else "" for r in row]
            lines.append(f"| `{policy}` | {how} | " + " | ".join(told) + " |")
    return "\n".join(lines)


def promise_table(extra: Mapping[str, Any]) -> str:
    """What became of the promises."""
    found = extra.get("promises") or {}
    lines = [
        "**Promises** (at most 2 % of the answers lost, confidence 95 %; 200 resplits of the hard sums)", "",
        "| threshold | problems | calibrated on | promises broken | no promise possible | answers lost, mean |",
        "|" + " --- |" * 6,
    ]  # fmt: skip
    for name, row in found.items():
        if "broken" in row:
            lost = "" if row["mean_lost"] is None else f"{100 * row['mean_lost']:.2f} %"
            lines.append(
                f"| `{name}` | {row['problems']} | {row['calibrated_on']} | {row['broken']} of {row['resplits']} | "
                f"{row['none']} | {lost} |"
            )
    look = found.get("lynx, per look")
    if look:
        told = ", ".join(f"{100 * v['mean']:.2f} % at delta {d}" for d, v in look["exits_at_wrong_looks"].items())
        looks = f"{look['wrong_looks']} looks at which the answer would be wrong ({look['problems']} problems)"
        lines += ["", f"LYNX promises per look: of {looks} it exits at {told}, mean of {look['resplits']} resplits."]
    return "\n".join(lines)


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy against everything spent, one panel a tier."""
    panels = []
    for task in TIERS:
        values = [
            {"spent": row["spent"], "accuracy": row["accuracy"], "rule": row["policy"].partition("(")[0],
             "policy": row["policy"], "how": row["how"]}
            for row in rows if row["task"].startswith(task)
        ]  # fmt: skip
        caps = [v for v in values if v["rule"] in ("fixed-budget", "full") and v["how"] == "replayed"]
        rest = [v for v in values if v["rule"] != "fixed-budget"]
        x, y = alt.X("spent:Q", title="tokens spent"), alt.Y("accuracy:Q", scale=alt.Scale(zero=False))
        line = alt.Chart(alt.Data(values=caps)).mark_line(color="#999", point={"color": "#999"}).encode(x=x, y=y)
        color = alt.Color("rule:N", title=None, scale=alt.Scale(scheme="tableau20"))
        dots = alt.Chart(alt.Data(values=rest)).mark_point(filled=True, size=70).encode(
            x=x, y=y, color=color, shape=alt.Shape("how:N", title=None)
        )  # fmt: skip
        panels.append((line + dots).properties(width=420, height=360, title=f"{task} (grey: fixed budgets)"))
    alt.hconcat(*panels).save(str(path), ppi=110)


def _short(policy: str, artefacts: Path) -> str:
    return policy.replace(f'artefact="{artefacts}/', "artefact=").replace('.json"', ".json")


def _round(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _span(row: Mapping[str, Any], name: str, scale: float, unit: str, *, sign: bool = False) -> str:
    if row["policy"] == "full" or row[name] is None:
        return ""
    middle, low, high = (f"{scale * row[name + end]:{'+' if sign else ''}.1f}" for end in ("", "_low", "_high"))
    return f"{middle}{unit} ({low} to {high})"
