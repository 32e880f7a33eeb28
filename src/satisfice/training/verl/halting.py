"""A halter at verl's validations: `algorithm.stop_when`, a halter's spec or a condition on verl's own metrics.

    algorithm.stop_when='val-core/sums/acc/mean@1<0.9'  trainer.test_freq=5

verl names its validation metrics; what it counts is the cost of validating as verl measured it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from satisfice.core.halter import Decision
from satisfice.training.halting import LOOKS, Watch, halter_of


class Stopping(Protocol):
    """What is needed of verl's trainer: how far it is, and how far it will go."""

    global_steps: int
    total_training_steps: int


def watch_of(text: str | None, folder: Path, step: int) -> Watch | None:
    """Return what watches the validations of a training, from its `stop_when`; None where there is none.

    What was seen up to `step` in an earlier attempt is in `folder` and counts.

    Raises:
        BadInput: neither a halter nor a condition.
    """
    if not text:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return Watch(halter_of(text), folder / LOOKS, until=step)


def after_validation(trainer: Stopping, watch: Watch, metrics: Mapping[str, Any]) -> Decision:
    """Show verl's metrics to the halter; where it stops, this step becomes the last one."""
    numbers = {name: float(value) for name, value in metrics.items() if isinstance(value, int | float)}
    decision = watch.seen(trainer.global_steps, numbers)
    if decision.stop:
        trainer.total_training_steps = trainer.global_steps
    return decision
