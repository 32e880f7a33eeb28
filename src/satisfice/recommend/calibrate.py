"""Fit what a rule learns, on recorded chains, and say where it comes from: `satisfice calibrate lynx`.

How a rule learns stands in its own file: a class with `fit` (`satisfice.methods.stopping.learning`). What comes out is
an `Artefact`: the network, the calibration scores, where they come from, and what was measured on the problems that
nothing else has seen.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from satisfice.catalog import find, methods_of
from satisfice.core.errors import UnknownName
from satisfice.core.recorded import RecordedChain
from satisfice.core.session import POLICY
from satisfice.measure.samples import ids_by_question, question_digest
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
    fitted = method.fit(ByQuestion(recording), kind, seed)
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


class ByQuestion:
    """Recorded chains in which problems that ask the same question are one, so that no part learns of another's."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.folder, self.layers, self.profile = recording.folder, recording.layers, recording.profile

    def decode(self, ids: Sequence[int], /) -> str:
        """Return the text of tokens."""
        return self._recording.decode(ids)

    def chains(self) -> Iterator[RecordedChain]:
        """Yield every chain, under the id of the first problem that asks its question."""
        ids = ids_by_question(self._recording.problems.values())
        for chain in self._recording.chains():
            yield replace(chain, problem=replace(chain.problem, id=ids[question_digest(chain.problem.question)]))


def default_path(rule: str, recording: Recording) -> Path:
    """Return where an artefact goes unless told otherwise: beside the recording's files."""
    return recording.folder / f"{rule}.json"
