"""What TRL calls while it trains: for rollouts, for rewards, after it has saved, and to ask whether to stop.

`Halting` stops any trainer of transformers or TRL at its own evaluations:

    SFTTrainer(..., args=SFTConfig(eval_strategy="steps", eval_steps=20), callbacks=[Halting(Patience(watch="-loss"))])
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from satisfice.core.halter import Decision, Halter
from satisfice.training.halting import HeldOut, Look, Watch


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


class Halting(TrainerCallback):
    """Asks a halter at each evaluation of a trainer, and ends the training when it says so.

    Metrics have the names that the trainer gives them, without `eval_`. `file` keeps what was seen, so that a resumed
    training decides as if it had not been interrupted. What an evaluation took (`runtime`, seconds) is its cost.
    """

    def __init__(self, halter: Halter, file: Path | None = None) -> None:
        self.watch = Watch(halter, file)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        plain = {name.removeprefix("eval_"): value for name, value in (metrics or {}).items()}
        numbers = {name: float(value) for name, value in plain.items() if isinstance(value, int | float)}
        decision = self.watch.seen(state.global_step, numbers, cost=numbers.get("runtime", 0.0))
        if decision.stop:
            control.should_training_stop = True


class LookingAhead(TrainerCallback):
    """Looks at the held-out problems every so many steps, and ends the training when the halter says so.

    `look` answers them with the weights of this moment; `told` hears of a stop. A stop saves a checkpoint too.
    """

    def __init__(
        self,
        held: HeldOut,
        look: Callable[[], Look],
        *,
        every: int,
        updates: int,
        told: Callable[[int, Decision], None],
    ) -> None:
        self._held, self._look, self._every, self._updates, self._told = held, look, every, updates, told

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if not self._held.is_begun:
            self._held.see(0, self._look())

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step, rest = divmod(int(state.global_step), self._updates)
        if rest or step % self._every:
            return
        decision = self._held.see(step, self._look())
        if decision.stop:
            control.should_training_stop = control.should_save = True
            self._told(step, decision)
