"""Fit what a rule learns, on recorded chains, and say where it comes from: `satisfice calibrate lynx`.

How a rule learns stands in its own file: a class with `fit` (`satisfice.methods.stopping.learning`). What comes out is
an `Artefact`: the network, the calibration scores, where they come from, and what was measured on the problems that
nothing else has seen.
"""

from pathlib import Path

from satisfice.catalog import find, methods_of
from satisfice.core.errors import UnknownName
from satisfice.core.session import POLICY
from satisfice.methods.stopping.artefact import Artefact
from satisfice.methods.stopping.learning import Classifier, Learning
from satisfice.recordings.recording import Recording


def learners() -> list[str]:
    """Return the ids of the rules that learn."""
    return [name for name, method in sorted(methods_of(POLICY).items()) if issubclass(method, Learning)]


def learns(rule: str, *, allow_files: bool = False) -> bool:
    """Return whether a rule, by its id or as `./my.py:MyRule`, learns from recorded chains."""
    return rule in learners() or (".py:" in rule and issubclass(find(rule, POLICY, allow_files=allow_files), Learning))


def calibrate(
    rule: str, recording: Recording, *, kind: Classifier = "logistic", seed: int = 0, allow_files: bool = False
) -> Artefact:
    """Fit what `rule` learns on a recording.

    `kind` is the network where the rule leaves a choice: a logistic regression, or the paper's multi-layer perceptron,
    which needs more chains.

    Raises:
        UnknownName: no rule of that name learns.
        BadInput: the recording lacks what the rule reads, or has too few examples of one class.
    """
    if not learns(rule, allow_files=allow_files):
        raise UnknownName("rule that learns", rule, learners())
    method = find(rule, POLICY, allow_files=allow_files)
    assert issubclass(method, Learning)
    fitted = method.fit(recording, kind, seed)
    config = recording.config
    about = {
        "recording": {
            "model": config["model"], "tasks": config["tasks"], "problems": config["problems"],
            "split": config["split"], "seeds": config["seeds"], "chains": len(recording),
            "temperature": recording.temperature,
        },
        "network": kind, "seed": seed, "measured": dict(fitted.measured),
    }  # fmt: skip
    return Artefact(
        rule=method.card.id, network=fitted.network, layers=fitted.layers, arrays=fitted.arrays,
        weights=str(config.get("weights") or ""), about=about,
    )  # fmt: skip


def default_path(rule: str, recording: Recording) -> Path:
    """Return where an artefact goes unless told otherwise: beside the recording's files."""
    return recording.folder / f"{rule}.json"
