"""The command `calibrate`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from satisfice.cli.common import err_console, out_console, print_json
from satisfice.cli.options import Json, names
from satisfice.core.errors import BadInput, CannotWrite

if TYPE_CHECKING:
    from satisfice.recordings.recording import Recording


def calibrate(
    rule: Annotated[
        str, typer.Argument(help="A rule that learns (lynx, specexit, ...), or any rule whose threshold is wanted.")
    ],
    recording: Annotated[Path, typer.Option(help="Folder that `satisfice record` wrote; not the split to report on.")],
    test: Annotated[
        Path | None, typer.Option(help="Another recording, on which to try what was found: one that it has not seen.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="File for the result. Default: beside the recording.")] = None,
    values: Annotated[str, typer.Option(help="Thresholds to try, with commas, the safest first.")] = "",
    field: Annotated[str, typer.Option(help="Which field of the rule they are for.")] = "threshold",
    most: Annotated[float, typer.Option(help="Share of the right answers that may be lost.")] = 0.02,
    doubt: Annotated[float, typer.Option(help="Chance that the promise is false.")] = 0.05,
    network: Annotated[str, typer.Option(help="For a rule that learns: logistic, or the paper's mlp.")] = "logistic",
    as_json: Json = False,
) -> None:
    """Fit what a rule learns on recorded chains, or find a threshold with a promise of how much it loses."""
    from satisfice.measure.samples import ids_by_question
    from satisfice.recommend.calibrate import calibrate, default_path, learns
    from satisfice.recordings.recording import Recording

    say = _note if as_json else _print
    if network not in ("logistic", "mlp"):
        raise BadInput(f"network must be logistic or mlp, got {network!r}.")
    with err_console.status(f"Reading {escape(str(recording))} ..."):
        chains = Recording(recording)
        unseen = None if test is None else Recording(test)
    if chains.config["split"] == "eval":
        _note("This recording is of the evaluation split: what is reported on that split will be flattered.")
    asked = [set(ids_by_question(one.problems.values())) for one in (chains, unseen) if one is not None]
    if len(asked) > 1 and (shared := asked[0] & asked[1]):
        raise BadInput(f"test: {test} shares {len(shared)} questions with {recording}. Record another split.")
    if learns(rule, allow_files=True):
        with err_console.status(f"Fitting {rule} ..."):
            artefact = calibrate(rule, chains, kind=network, allow_files=True)  # type: ignore[arg-type]
        path = out or default_path(rule, chains)
        artefact.save(path)
        say(f"On problems of this recording that it has not seen: {json.dumps(artefact.about['measured'], indent=1)}")
        chosen, found = f"{rule}(artefact={json.dumps(str(path))})", None
    else:
        chosen, found = _promise(rule, chains, values, field, most=most, doubt=doubt, say=say)
        path = out or chains.folder / f"{rule.partition('(')[0].replace(':', '-')}-{field}.json"
    if unseen is not None and chosen:
        row = _tried(chosen, unseen, say)
        found = None if found is None else found | {"test": row}
    if found is not None:
        try:
            path.write_text(json.dumps(found, indent=1), encoding="utf-8")
        except OSError as error:
            raise CannotWrite(f"{path} cannot be written: {error.strerror}.") from error
    if as_json:
        print_json({"written": str(path), "use": chosen or None, "found": found})
    say(f"Written to {path}. " + (f"Use {chosen}" if chosen else "Use none of them."))
    if not chosen:
        raise typer.Exit(1)


def _promise(
    rule: str, chains: "Recording", values: str, field: str, *, most: float, doubt: float, say: Callable[[str], None]
) -> tuple[str, dict[str, Any]]:
    """Find a threshold and say how it was found; the rule at it ("" when none may be used), and all of it as JSON."""
    from satisfice.recommend.calibrate_threshold import promise_threshold

    try:
        tried = [float(value) for value in names(values)]
    except ValueError:
        raise BadInput(f"values must be numbers with commas, the safest first, got {values!r}.") from None
    with err_console.status(f"Replaying {escape(rule)} at {len(tried)} thresholds ..."):
        promise = promise_threshold(chains, rule, field, tried, most=most, doubt=doubt)
    for one in promise.outcome.tested:
        verdict = "may be used" if one.passed else "may lose too much: testing ends here"
        say(f"{field} {one.threshold:g}: {one.lost} lost, at most {one.bound:.2%}: {verdict}")
    saves = f", and saves {promise.saving:.0%} of the tokens" if promise.policy else ""
    say(f"{promise.outcome}{saves}.")
    return promise.policy, promise.as_row()


def _tried(policy: str, unseen: "Recording", say: Callable[[str], None]) -> dict[str, Any]:
    """Try a rule on chains that had no part in fitting it, and say what came out."""
    from satisfice.recommend.calibrate_threshold import effects, identity

    with err_console.status(f"Replaying it on {escape(str(unseen.folder))} ..."):
        (found,) = effects(unseen, [policy])
    say(f"On {unseen.folder}: {found}.")
    return found.as_row() | {"recording": identity(unseen)}


def _print(line: str) -> None:
    out_console.print(line, highlight=False, markup=False, soft_wrap=True)


def _note(line: str) -> None:
    err_console.print(line, highlight=False, markup=False, soft_wrap=True)
