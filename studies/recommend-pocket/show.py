"""The tables of the page, from the results."""

from collections.abc import Mapping
from typing import Any

from scipy.stats import binomtest

TIERS = ("easy", "hard")


def tables(found: Mapping[str, Any]) -> str:
    """All tables of the page."""
    parts = [
        check(found["check"]), agreement(found), second(found["check"]), cells(found), monitor(found["monitor"]),
        drift(found["drift"]), *([learned(found["learned"])] if "learned" in found else []),
    ]  # fmt: skip
    return "\n\n".join(parts)


def check(found: Mapping[str, Any]) -> str:
    """What the recommendation does to fresh problems."""
    lines = [
        "**On fresh problems**", "",
        "| setting | tier | problems | lost (95 %) | gained | changed | saves | of what the best saves |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for spec, row in found["settings"].items():
        role = "recommended" if spec == found["chosen"] else "best that keeps the promise"
        role = "recommended, and the best" if found["chosen"] == found["best"] else role
        best = found["settings"][found["best"]]
        for at, tier in enumerate(TIERS):
            n, lost = row["problems"][at], row["lost"][at]
            low, high = binomtest(lost, n).proportion_ci(0.95, "exact")
            share = row["saved"][1 + at] / best["saved"][1 + at]
            lines.append(
                f"| `{spec}` ({role}) | {tier} | {n} | {lost}: {lost / n:.2%} ({low:.2%} to {high:.2%}) "
                f"| {row['gained'][at]} | {row['changed'][at] / n:.2%} | {row['saved'][1 + at]:.1%} | {share:.0%} |"
            )
    return "\n".join(lines)


def agreement(found: Mapping[str, Any]) -> str:
    """Whether what was read off the chains is what replaying them does, and which ladders were not read."""
    rows = found["read_and_replayed"]
    kinds = ("verdicts", "tokens", "answers", "looks")
    differ = sum(row[kind] for row in rows.values() for kind in kinds)
    problems = sum(row["problems"] for row in rows.values())
    left = ", ".join(f"`{name}`" for name in found["left_out"])
    return (
        f"Settings were read off the chains; {len(rows)} of them were replayed on {problems} problems, and {differ} "
        f"verdicts, costs, answers or looks differ. Left out: {left}, which save nothing here."
    )


def second(found: Mapping[str, Any]) -> str:
    """How often two full answers differ."""
    floor = found["floor"]
    told = []
    for tier, changed, problems in zip(TIERS, floor["changed"], floor["problems"], strict=True):
        low, high = binomtest(changed, problems).proportion_ci(0.95, "exact")
        told.append(f"{changed} of {problems} {tier} problems ({low:.1%} to {high:.1%})")
    return f"**The floor of *changed*.** Two full answers differ on {' and '.join(told)}."


def cells(found: Mapping[str, Any]) -> str:
    """How often promises are broken, by what is promised, on how many problems, in which population."""
    lines = [
        f"**Promises broken in {found['resamplings']:,} resamplings** (95 % exact interval; problems per tier, "
        "a third of them to choose on)", "",
        "| allowed | problems | population | broken | promised at all | kept | saves where kept | best that keeps it |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for row in found["cells"]:
        broken = f"{row['broken_share']:.2%} ({row['broken_low']:.2%} to {row['broken_high']:.2%})"
        name = row["population"] if row["population"] == "as recorded" else f"tempted by `{row['population']}`"
        saving = "" if row["saving_where_kept"] is None else f"{row['saving_where_kept']:.1%}"
        lines.append(
            f"| {row['most']:.0%} | {row['problems']} | {name} | {broken} | {row['promised']:.1%} | {row['kept']:.1%} "
            f"| {saving} | {row['oracle']:.1%} |"
        )
    return "\n".join(lines)


def monitor(found: Mapping[str, Any]) -> str:
    """Alarms of the monitor."""
    lines = [
        f"**The monitor of a promise of {found['most']:.0%}**, {found['lives']:,} lives of {found['comparisons']:,} "
        "comparisons", "",
        "| truly lost | alarms (95 %) | comparisons up to the alarm, median | nine tenths within |",
        "| --- | --- | --- | --- |",
    ]  # fmt: skip
    for share, row in found["found"].items():
        alarms = f"{row['alarms']:.2%} ({row['alarms_low']:.2%} to {row['alarms_high']:.2%})"
        lines.append(f"| {float(share):.0%} | {alarms} | {row['median'] or ''} | {row['ninth_tenth'] or ''} |")
    return "\n".join(lines)


def drift(found: Mapping[str, Any]) -> str:
    """Delays of the drift alarm."""
    lines = [
        "**Easy problems, then hard ones**", "",
        "| watched | streams | alarms before the turn | found | requests after the turn, median | nine tenths within |",
        "| --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    for name, row in found.items():
        delay = [f"{row[part]:.0f}" if row[part] else "" for part in ("median", "ninth_tenth")]
        told = f"| {row['streams']} | {row['early']:.1%} | {row['found']:.1%} | {delay[0]} | {delay[1]} |"
        lines.append(f"| {name.replace('-', ' ')} {told}")
    return "\n".join(lines)


def learned(found: Mapping[str, Any]) -> str:
    """Our own rule beside DEER, each at the setting that is promised, and the oracle."""
    lines = [
        "**A learned value of stopping (`stop-value`) against DEER**, each at the setting that is promised", "",
        "| allowed | rule | setting | lost, easy and hard | saves | easy | hard |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]  # fmt: skip
    names = {"deer": "`deer(reuse_answer=true)`, threshold", "stop-value": "`stop-value`, price"}
    for row in found["promised"]:
        head = f"| {row['most']:.0%} | {names[row['rule']]} |"
        lines.append(f"{head} none | | | | |" if row["value"] is None else f"{head} {row['value']:g} {_tail(row)}")
    lines.append(f"| | oracle of the first right answer | {_tail(found['oracle'])}")
    for row in found["difference"]:
        more, low, high = (f"{100 * row[end]:+.1f}" for end in ("more", "low", "high"))
        lines += ["", f"At {row['most']:.0%} `stop-value` less DEER: {more} points of saving ({low} to {high})."]
    return "\n".join(lines)


def _tail(row: Mapping[str, Any]) -> str:
    lost = " and ".join(f"{n} of {size}" for n, size in zip(row["lost"], row["problems"], strict=True))
    return f"| {lost} | {row['saving']:.1%} | {row['savings'][0]:.1%} | {row['savings'][1]:.1%} |"
