"""What the bench compares: a model under a policy, drawn by a sampler; one of them is the baseline."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BASELINE = "full"
"""The policy of the baseline: no rule."""


@dataclass(frozen=True, order=True)
class Subject:
    """One line of a table of results."""

    model: str
    policy: str  # canonical text
    sampler: str = ""  # canonical text; "": the model's own

    def as_row(self) -> dict[str, str]:
        """Return the fields that a sample and a result row say of it."""
        return {"model": self.model, "policy": self.policy, "sampler": self.sampler}

    def under(self, policy: str) -> "Subject":
        """Return the same model and sampler under another policy."""
        return Subject(self.model, policy, self.sampler)


def subject_of(row: Mapping[str, Any]) -> Subject:
    """Return the subject of a sample or a result row; rows of release 1 may lack model and sampler."""
    return Subject(row.get("model", ""), row["policy"], row.get("sampler") or "")


def subjects_in(config: Mapping[str, Any]) -> list[Subject]:
    """Return the subjects of a run in the order of its tables: by model, then by sampler, then by policy."""
    return cross(config["models"], config["samplers"], config["policies"])


def cross(models: Iterable[str], samplers: Sequence[str], policies: Sequence[str]) -> list[Subject]:
    """Return every model with every sampler under every policy.

    >>> [subject.policy for subject in cross(["a", "b"], [""], ["full", "deer"])]
    ['full', 'deer', 'full', 'deer']
    """
    return [Subject(model, policy, sampler) for model in models for sampler in samplers for policy in policies]


def baseline_of(subjects: Sequence[Subject]) -> Subject | None:
    """Return the baseline: the first model with the first sampler under no rule; None where nothing is given.

    It may lack samples: then nothing is compared.
    """
    return subjects[0].under(BASELINE) if subjects else None


def names_of(subjects: Sequence[Subject], policies: Mapping[str, str] | None = None) -> dict[Subject, str]:
    """Return the shortest names that tell subjects apart: the policy; the model where there are several; the sampler.

    `policies` says what to call them; by default their canonical texts.

    >>> [*names_of(cross(["pocket", "runs/a/model"], [""], ["full", "deer"])).values()]
    ['pocket: full', 'pocket: deer', 'model: full', 'model: deer']
    """
    models = _endings(list(dict.fromkeys(subject.model for subject in subjects)))
    samplers = len({subject.sampler for subject in subjects}) > 1
    return {
        subject: (f"{models[subject.model]}: " if len(models) > 1 else "")
        + (policies or {}).get(subject.policy, subject.policy)
        + (f" [{subject.sampler or 'own sampler'}]" if samplers else "")
        for subject in subjects
    }


def _endings(models: Sequence[str]) -> dict[str, str]:
    """Return the shortest ending of each path that no other model shares."""
    for parts in range(1, 9):
        found = {model: "/".join(model.rstrip("/").split("/")[-parts:]) for model in models}
        if len(set(found.values())) == len(models):
            return found
    return {model: model for model in models}
