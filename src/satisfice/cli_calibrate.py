"""The command `calibrate`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from satisfice.cli_common import err_console, names, out_console
from satisfice.core.errors import BadInput


def calibrate(
    rule: Annotated[
        str, typer.Argument(help="A rule that learns (lynx, specexit, ...), or any rule whose threshold is wanted.")
    ],
    recording: Annotated[Path, typer.Option(help="Folder that `satisfice record` wrote; not the split to report on.")],
    out: Annotated[Path | None, typer.Option(help="File for the result. Default: beside the recording.")] = None,
    values: Annotated[str, typer.Option(help="Thresholds to try, with commas, the safest first.")] = "",
    field: Annotated[str, typer.Option(help="Which field of the rule they are for.")] = "threshold",
    most: Annotated[float, typer.Option(help="Share of the right answers that may be lost.")] = 0.02,
    doubt: Annotated[float, typer.Option(help="Chance that the promise is false.")] = 0.05,
    network: Annotated[str, typer.Option(help="For a rule that learns: logistic, or the paper's mlp.")] = "logistic",
) -> None:
    """Fit what a rule learns on recorded chains, or find a threshold with a promise of how much it loses."""
    from satisfice.bench.calibrate import FITS, default_path
    from satisfice.bench.calibrate import calibrate as fit
    from satisfice.engines.recording import Recording

    if network not in ("logistic", "mlp"):
        raise BadInput(f"network must be logistic or mlp, got {network!r}.")
    with err_console.status(f"Reading {escape(str(recording))} ..."):
        chains = Recording(recording)
    if chains.config["split"] == "eval":
        err_console.print(
            "This recording is of the evaluation split: results on that split will be flattered by what is fitted.",
            highlight=False,
        )
    path = out or default_path(rule.partition("(")[0].replace(":", "-"), chains)
    if rule in FITS:
        with err_console.status(f"Fitting {rule} ..."):
            artefact = fit(rule, chains, kind=network)  # type: ignore[arg-type]
        artefact.save(path)
        told = json.dumps(artefact.about["measured"], indent=1)
        out_console.print(f"On problems that it has not seen: {told}", highlight=False, markup=False)
        spec = f"{rule}(artefact={json.dumps(str(path))})"
        out_console.print(f"Written to {path}. Use it as {spec}", highlight=False, markup=False, soft_wrap=True)
        return
    from satisfice.bench.calibrate_threshold import promise_threshold

    try:
        tried = [float(value) for value in names(values)]
    except ValueError:
        raise BadInput(f"values must be numbers with commas, the safest first, got {values!r}.") from None
    with err_console.status(f"Replaying {rule} at {len(tried)} thresholds ..."):
        promise = promise_threshold(chains, rule, field, tried, most=most, doubt=doubt)
    path.write_text(json.dumps(promise.as_row(), indent=1), encoding="utf-8")
    for test in promise.outcome.tested:
        verdict = "may be used" if test.passed else "may lose too much: testing ends here"
        line = f"{field} {test.threshold:g}: {test.lost} lost, at most {test.bound:.2%}: {verdict}"
        out_console.print(line, highlight=False, markup=False)
    use = f"Use {promise.policy}, which saves {promise.saving:.0%} here." if promise.policy else "Use none of them."
    out_console.print(f"{promise.outcome}. {use}", highlight=False, markup=False, soft_wrap=True)
    out_console.print(f"Written to {path}", highlight=False, markup=False, soft_wrap=True)
