"""A halter at verl's validations, without verl: the trainer's loop is the condition that verl's loop has."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from satisfice.core.errors import BadInput
from satisfice.training.verl.halting import after_validation, watch_of

NAME = "val-core/sums/acc/mean@1"
ACCURACY = (0.9, 0.91, 0.9, 0.85, 0.7, 0.6)


def trained(text: str | None, folder: Path, begin: int = 0) -> int:
    """Return the last step of a loop that validates after every step, as verl's does."""
    trainer = SimpleNamespace(global_steps=begin, total_training_steps=5)
    watch = watch_of(text, folder, begin)
    while trainer.global_steps <= trainer.total_training_steps:
        if watch is not None:
            after_validation(trainer, watch, {NAME: ACCURACY[trainer.global_steps], "name": "sums"})
        trainer.global_steps += 1
    return trainer.global_steps - 1


def test_a_halter_is_what_ends_the_loop(tmp_path: Path) -> None:
    assert trained(None, tmp_path / "plain") == 5
    assert trained(f"{NAME}<0.8", tmp_path / "condition") == 4
    assert trained(f"patience(patience=2, watch={NAME})", tmp_path / "spec") == 3


def test_an_attempt_that_goes_on_knows_what_was_seen(tmp_path: Path) -> None:
    spec = f"patience(patience=3, watch={NAME})"
    first = watch_of(spec, tmp_path, 0)
    assert first is not None
    for step in (1, 2):
        trainer = SimpleNamespace(global_steps=step, total_training_steps=5)
        after_validation(trainer, first, {NAME: ACCURACY[step]})
    assert trained(spec, tmp_path, begin=3) == 4
    with pytest.raises(BadInput, match="cannot be read"):
        watch_of("acc=1", tmp_path, 0)
