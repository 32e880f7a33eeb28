"""The card of a trained model: what it was made from, how, and what that did to accuracy and to length."""

from collections.abc import Mapping, Sequence
from typing import Any

_SETTINGS = (
    "steps", "prompts", "group", "max_tokens", "temperature", "learning_rate", "warmup", "updates", "bf16", "refill",
    "seed", "lora", "rollout_dtype",
)  # fmt: skip


def model_card(
    run: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], compared: Sequence[Mapping[str, Any]]
) -> str:
    """A page in Markdown. `run` is `train.json`, `compared` the rows of the trained model against the first one."""
    config, looked = run["config"], run["preflight"]
    base = config["model"]
    parts = [
        f"# {base}, trained with {config['shaper'].partition('(')[0]}",
        f"`{base}` (weights `{config['weights']}`), trained by reinforcement learning on "
        f"{', '.join(f'`{task}`' for task in config['tasks'])} ({sum(p['n'] for p in config['problems'].values())} "
        f"problems of the training split) with `{config['shaper']}`. Made by `satisfice train`.",
        "## Accuracy and length",
        _results(compared, base) if compared else "Not measured (`--eval-limit 0`).",
        "## Training",
        "| setting | value |\n| --- | --- |\n"
        + "\n".join(f"| {name} | {config[name]} |" for name in _SETTINGS if name in config),
        _curve(steps),
        "## Before the training",
        f"On {looked['problems']} problems, {looked['rollouts']} rollouts: {looked['accuracy']:.1%} right, "
        f"{looked['solved_by_any']:.1%} of the problems solved at least once, {looked['solved_by_all']:.1%} always; "
        f"{looked['length_mean']:.0f} tokens on average ({looked['length_p10']:.0f} to {looked['length_p90']:.0f} for "
        f"the middle 80 %), {looked['truncated']:.1%} cut off.",
        *(f"- {note}" for note in looked["notes"]),
    ]
    alarms = [f"- step {row['step']}: {text}" for row in steps for text in row["alarms"]]
    if alarms:
        parts += ["## Alarms", "\n".join(alarms)]
    return "\n\n".join(part for part in parts if part) + "\n"


def data_card(
    run: Mapping[str, Any], header: Mapping[str, Any], steps: Sequence[Mapping[str, Any]],
    compared: Sequence[Mapping[str, Any]],
) -> str:  # fmt: skip
    """Return the card of a model that was trained on data: a page in Markdown.

    `run` is `train.json`, `header` the data's `data.json`, `compared` the rows of the trained model against the first.
    """
    config = run["config"]
    base = config["model"]
    names = ("loss", "epochs", "batch", "learning_rate", "warmup", "beta", "gamma", "bf16", "seed", "lora")
    constant = f" What chosen and rejected have in common: {header['constant']}." if header.get("constant") else ""
    parts = [
        f"# {base}, trained on {config['data'].partition('(')[0]}",
        f"`{base}` (weights `{config['weights']}`), trained with `{config['loss']}` on {config['rows']:,} "
        f"{header['makes']} that `{config['data']}` made of {sum(one['chains'] for one in header['recordings']):,} "
        f"recorded chains of `{header['model']}`.{constant} Made by `satisfice shorten` and `satisfice train`.",
        "## Accuracy and length",
        _results(compared, base) if compared else "Not measured (`--eval-limit 0`).",
        "## Training",
        "| setting | value |\n| --- | --- |\n"
        + "\n".join(f"| {name} | {config[name]} |" for name in names if name in config),
        f"{len(steps)} updates, {run.get('processor_s', 0.0):.0f} seconds of processor time without recording."
        + (f" Loss {steps[0]['loss']:.3f} in the first update, {steps[-1]['loss']:.3f} in the last." if steps else ""),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _results(rows: Sequence[Mapping[str, Any]], base: str) -> str:
    lines = ["| task | n | accuracy before | after | difference (95 %) | tokens before | after | saving (95 %) |"]
    lines.append("|" + " --- |" * 8)
    for row in rows:
        difference = _span(row, "delta_accuracy", 100, "{:+.1f}")
        saving = _span(row, "saving", 100, "{:.1f} %")
        lines.append(
            f"| {row['task']} | {row['n']} | {row['accuracy_first']:.1%} | {row['accuracy_second']:.1%} | {difference} "
            f"| {row['spent_first']:.0f} | {row['spent_second']:.0f} | {saving} |"
        )
    counts = [row["n"] for row in rows]
    if base == "pocket":
        few, wanted = min(counts) < 2000, "2,000 problems per task"
    else:
        few, wanted = sum(counts) < 1500, "1,500 problems"
    small = f" A claim needs {wanted}: these are for orientation." if few else ""
    return "\n".join(lines) + (
        "\n\nProblems of the evaluation split, the same before and after, thinking until the model stops by itself; "
        f"tokens: everything that was sampled.{small}"
    )


def _span(row: Mapping[str, Any], name: str, factor: float, form: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return ""
    return f"{form.format(factor * value)} ({form.format(factor * low)} to {form.format(factor * high)})"


def _curve(steps: Sequence[Mapping[str, Any]]) -> str:
    """Return a few steps of the training, the first and the last among them."""
    if not steps:
        return ""
    n = min(6, len(steps))
    shown = [steps[round(i * (len(steps) - 1) / max(1, n - 1))] for i in range(n)]
    lines = ["| step | accuracy | tokens | tokens, right | truncated | entropy |", "|" + " --- |" * 6]
    for row in shown:
        right = row.get("rollouts/length_right")
        lines.append(
            f"| {row['step']} | {row['rollouts/accuracy']:.1%} | {row['rollouts/length']:.0f} | "
            f"{'' if right is None else f'{right:.0f}'} | {row['rollouts/truncated']:.1%} | {row['loss/entropy']:.3f} |"
        )
    return "Rollouts of the training itself (one batch a row):\n\n" + "\n".join(lines)
