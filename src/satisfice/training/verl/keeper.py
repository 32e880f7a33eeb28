"""What a shaper remembers, in verl's checkpoints: the file `satisfice.json` of each `global_step_N`."""

from pathlib import Path
from typing import Any

from verl.trainer.ppo.checkpoint_callback import CheckpointCallback
from verl.trainer.ppo.core_algos import get_adv_estimator_fn
from verl.utils.checkpoint.checkpoint_manager import find_latest_ckpt_path

from satisfice.core.errors import UnknownName
from satisfice.core.shaper import Stateful
from satisfice.methods.shaping import FAMILY
from satisfice.training.checkpoint import read_state, write_state
from satisfice.training.verl.estimator import OWN, PREFIX, Estimator


class KeepState(CheckpointCallback):
    """verl's checkpoint callback, for training with verl's own trainers: set it as `checkpoint_callback_class`.

    verl calls it once a checkpoint is complete, so a kill in that moment leaves one without our file; going on from
    it is refused. Our own trainer writes the file first.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config=config)
        self.estimator = estimator_of(config)
        self.estimator.kept = True
        if (folder := resumed_from(config.trainer)) is not None:
            load(self.estimator, folder)

    def on_save(self, trainer: Any, global_step: int, checkpoint_dir: str, async_save: bool = False, **_: Any) -> None:
        """Put the state beside what verl saved."""
        save(self.estimator, Path(checkpoint_dir))


def estimator_of(config: Any) -> Estimator:
    """Return the estimator that a run uses, with its settings.

    Raises:
        BadInput: the run does not use one of ours.
    """
    name = str(config.algorithm.adv_estimator)
    if name != OWN and name.removeprefix(PREFIX) not in FAMILY.methods:
        raise UnknownName("algorithm.adv_estimator", name, [OWN, *(PREFIX + method for method in FAMILY.methods)])
    estimator: Estimator = get_adv_estimator_fn(name)
    estimator.settle(config.algorithm)
    return estimator


def resumed_from(trainer: Any) -> Path | None:
    """Return the checkpoint that verl will go on from, by its own rules; `trainer` is that section of the settings."""
    match trainer.resume_mode:
        case "auto":
            found = find_latest_ckpt_path(str(Path(trainer.default_local_dir).absolute()))
            return None if found is None else Path(found)
        case "resume_path":
            return Path(trainer.resume_from_path).absolute()
    return None


def save(estimator: Estimator, checkpoint: Path) -> None:
    """Write what the shaper remembers into a checkpoint; nothing for shapers that remember nothing."""
    if isinstance(estimator.shaper, Stateful):
        checkpoint.mkdir(parents=True, exist_ok=True)
        write_state(checkpoint, estimator.shaper, estimator.state, estimator.rewards)


def load(estimator: Estimator, checkpoint: Path) -> None:
    """Take up what the shaper remembered.

    Raises:
        BadInput: the checkpoint has no state, or another shaper's.
    """
    if isinstance(estimator.shaper, Stateful):
        estimator.state = read_state(checkpoint, estimator.shaper, estimator.rewards)
