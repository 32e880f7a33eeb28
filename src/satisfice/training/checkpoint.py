"""What a training's checkpoints hold beside the trainer's own files: the state of the shaper."""

import json
from pathlib import Path
from typing import Any

from satisfice.core.errors import BadInput
from satisfice.core.files import replace_file
from satisfice.core.shaper import STATELESS, RewardRange, Shaper, State
from satisfice.training.segments import Underway

STATE_FILE = "satisfice.json"
"""In each checkpoint: the shaper's state. Written last, so a checkpoint that has it is complete."""


def write_state(
    checkpoint: Path, shaper: Shaper, state: State, rewards: RewardRange, underway: Underway | None = None
) -> None:
    """Put a shaper's state, and the rollouts that are on their way, into a checkpoint that is otherwise complete.

    `rewards` is what verdicts are worth in this training.
    """
    row: dict[str, Any] = {"shaper": shaper.card.id, "reward_range": rewards, "state": dict(state)}
    if underway is not None:
        row["underway"] = underway.to_json()
    replace_file(checkpoint / STATE_FILE, json.dumps(row))


def read_state(checkpoint: Path, shaper: Shaper, rewards: RewardRange) -> State:
    """Return the state of a shaper from a checkpoint.

    Raises:
        BadInput: the checkpoint is of another shaper or range of rewards, or is not complete.
    """
    try:
        row = json.loads((checkpoint / STATE_FILE).read_text("utf-8"))
        name, state = row["shaper"], row["state"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"checkpoint {checkpoint} has no readable {STATE_FILE}: {error}. Use an older one.") from error
    if name != shaper.card.id:
        raise BadInput(f"checkpoint {checkpoint} is of a training with {name}, not {shaper.card.id}.")
    there = row.get("reward_range", "0/1")  # not written before runs could choose it
    if there != rewards:
        raise BadInput(
            f"checkpoint {checkpoint} is of a training with rewards of {there}, not {rewards}. "
            f"Set reward-range to {there} to go on, or start anew."
        )
    return dict(state) if state else STATELESS


def read_underway(checkpoint: Path) -> Underway:
    """Return the rollouts that were on their way when a checkpoint was written."""
    row = json.loads((checkpoint / STATE_FILE).read_text("utf-8"))
    return Underway.from_json(row["underway"]) if "underway" in row else Underway()


def latest_checkpoint(folder: Path) -> Path | None:
    """Return the last complete checkpoint of a training; one whose writing was interrupted is passed over."""
    found = [path for path in folder.glob("checkpoint-*") if (path / STATE_FILE).is_file()]
    return max(found, key=lambda path: int(path.name.partition("-")[2]), default=None)
