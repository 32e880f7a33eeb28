"""The names of generated tasks, and the reasoning-gym configuration behind each of them.

A tier never changes once it is released: a new configuration gets a new version, so that a name in an old record keeps
its meaning. The hard tiers are set so that the pocket reasoner's first answer is often wrong, the easy ones so that it
rarely is.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

from satisfice.core.errors import BadInput, UnknownName

VERSION = 1

TIERS: Mapping[str, Mapping[str, Mapping[str, int | bool]]] = {
    "chain-sum": {
        "easy": {"min_terms": 2, "max_terms": 3, "min_digits": 2, "max_digits": 2},
        "medium": {"min_terms": 4, "max_terms": 5, "min_digits": 2, "max_digits": 2},
        "hard": {"min_terms": 6, "max_terms": 8, "min_digits": 3, "max_digits": 3},
    },
    "products": {
        "easy": {"min_terms": 3, "max_terms": 4, "min_digits": 1, "max_digits": 1},
        "medium": {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 3},
        "hard": {"min_terms": 2, "max_terms": 2, "min_digits": 3, "max_digits": 3},
    },
    "leg-counting": {
        "easy": {"min_animals": 2, "max_animals": 3, "min_instances": 1, "max_instances": 9},
        "medium": {"min_animals": 3, "max_animals": 4, "min_instances": 1, "max_instances": 15},
        "hard": {"min_animals": 5, "max_animals": 6, "min_instances": 5, "max_instances": 25},
    },
    "gcd": {
        "easy": {"min_value": 2, "max_value": 150},
        "medium": {"min_value": 100, "max_value": 500},
        "hard": {"min_value": 300, "max_value": 999},
    },
}


COMPARED = frozenset({"gsm-symbolic"})
"""Families whose own scorer takes the first number that it finds; each answer is one number, so it is compared here."""


@functools.cache
def unfit_families() -> Mapping[str, str]:
    """Return the families that are refused, with the reason: `satisfice.tasks.audit` tried their scorers."""
    found = json.loads(files("satisfice.tasks").joinpath("unfit.json").read_text(encoding="utf-8"))
    return {name: reason for name, reason in found.items() if name not in COMPARED}


@dataclass(frozen=True, kw_only=True)
class Family:
    """A parsed task name: its canonical form and the reasoning-gym dataset that makes its questions."""

    name: str  # canonical and versioned: `chain-sum:hard@1`
    dataset: str  # reasoning-gym's name: `chain_sum`
    config: Mapping[str, int | bool] = field(default_factory=dict)


def task_names() -> list[str]:
    """Every task of ours, easiest first within a family; any other reasoning-gym family works too, by its name."""
    return [f"{family}:{tier}" for family, tiers in TIERS.items() for tier in tiers]


def family_names() -> list[str]:
    """Return the names of all reasoning-gym families, fit or not."""
    return sorted(known.replace("_", "-") for known in _reasoning_gym())


def parse_name(name: str) -> Family:
    """Read `family`, `family:tier` or either with `@version`, and say what it stands for.

    Raises:
        UnknownName: no such family or tier; the nearest names are suggested.
        BadInput: a version that this release does not have, or a family whose scorer cannot be trusted.
    """
    bare, _, version = name.partition("@")
    if version and version != str(VERSION):
        raise BadInput(
            f"task {name!r} asks for version {version!r}, and this release has version {VERSION}. Ask for {bare!r}."
        )
    family, colon, tier = bare.partition(":")
    dataset = family.replace("-", "_")
    if dataset not in _reasoning_gym():
        raise UnknownName("task", name, [*task_names(), *family_names()])
    family = dataset.replace("_", "-")
    if reason := unfit_families().get(family):
        raise BadInput(
            f"task {name!r} is refused, as the verdicts of its scorer mean nothing: {reason}. Ask for another."
        )
    if not colon:
        return Family(name=f"{family}@{VERSION}", dataset=dataset)
    if family not in TIERS:
        raise BadInput(
            f"task {name!r} names a tier, and the family {family!r} has none. Ask for {family!r} (its defaults)."
        )
    if tier not in TIERS[family]:
        raise UnknownName(f"tier of {family!r}", tier, TIERS[family])
    return Family(name=f"{family}:{tier}@{VERSION}", dataset=dataset, config=TIERS[family][tier])


@functools.cache
def _reasoning_gym() -> frozenset[str]:
    import reasoning_gym  # noqa: F401  (importing it fills the table)
    from reasoning_gym.factory import DATASETS

    return frozenset(DATASETS)
