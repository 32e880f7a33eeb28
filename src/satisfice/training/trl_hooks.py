"""What TRL calls while it trains: for rollouts, for rewards, and after it has saved a checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback


class AfterSaving(TrainerCallback):
    """Calls `write` with the folder of each checkpoint, once everything else is in it."""

    def __init__(self, write: Callable[[Path], None]) -> None:
        self._write = write

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._write(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def rollouts(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Return TRL's rollouts: one entry for each prompt, in order, groups side by side."""
    found: dict[str, Any] = trainer.roll(prompts)
    return found


def shaped_reward(shaped_reward: list[float | None], **rest: Any) -> list[float | None]:
    """Return what the shaper made of each rollout, so that TRL's own logs show it."""
    return shaped_reward
