"""What a training on data will do, with everything checked that can be checked before anything is computed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from satisfice.catalog import canonical
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.flags import Flag, check_settings, deciding
from satisfice.core.token_loss import TokenLoss
from satisfice.training.rows import Data

LossName = Literal["sft", "dpo", "dpo-norm", "kto", "simpo"]
BETA = {"sft": 0.0, "dpo": 0.1, "dpo-norm": 0.1, "kto": 0.1, "simpo": 2.0}
"""Where it is not given: of DPO and KTO what TRL takes, of SimPO what the paper takes."""


@dataclass(frozen=True, kw_only=True)
class DataPlan:
    """A training on rows or pairs: a model, data, a loss, and how long."""

    model: str  # a name as everywhere: `pocket`, a folder, MODEL+ADAPTER
    data: Data
    token_loss: TokenLoss | None = None  # which tokens count, beside those that the data has on
    loss: Annotated[
        LossName, Flag("Of a training on data: sft for rows; dpo, dpo-norm (per token), kto or simpo for pairs.")
    ] = "sft"
    epochs: Annotated[int, Range(1), Flag("Times that the data is gone through.")] = 1
    batch: Annotated[int, Range(1), Flag("Rows or pairs per update, of all processes together.")] = 32
    beta: Annotated[
        float | None, Range(0), Flag("Strength of the preference. Default: 0.1; for simpo 2.")
    ] = None  # fmt: skip
    gamma: Annotated[float, Range(0), Flag("SimPO's margin between chosen and rejected, per token.")] = 1.0
    learning_rate: Annotated[float, Range(0), Flag("Default: 1e-05 (1e-06 for pairs).")] = 1e-5
    warmup: Annotated[int, Range(0), Flag("Updates in which the rate rises; then it falls to 0.")] = 0
    part: Annotated[int, Range(1), Flag("Rows in one forward pass: fewer take less memory.")] = 16
    bf16: Annotated[bool, Flag("Run forward and backward passes in bfloat16.")] = False
    save_every: Annotated[int, Range(1), Flag("Updates between checkpoints.", decides=False)] = 10
    seed: Annotated[int, Range(0, 2**31 - 1), Flag("Of the order of the data.")] = 0
    report_to: Annotated[
        Literal["none", "trackio", "wandb", "tensorboard"], Flag("Where figures are sent.", decides=False)
    ] = "none"
    device: Annotated[Literal["cpu", "cuda"], Flag("Where to train.")] = "cpu"
    lora: Annotated[int, Range(0), Flag("Rank of an adapter, a few MB, to train in place of the weights; 0: none.")] = 0

    def __post_init__(self) -> None:
        check_settings(self)
        if not 0 < self.learning_rate < 1:
            raise BadInput(f"learning-rate must be between 0 and 1, got {self.learning_rate}.")
        if self.token_loss is not None and self.loss != "sft":
            raise BadInput(f"token-loss: {self.token_loss.card.id} goes with --loss sft, not {self.loss}.")
        wanted = "rows" if self.loss == "sft" else "pairs"
        if self.data.makes != wanted:
            others = "sft" if wanted == "pairs" else "dpo, dpo-norm, kto or simpo"
            raise BadInput(
                f"loss: {self.loss} learns from {wanted}, and {self.data.folder} holds {self.data.makes} "
                f"({self.data.header.get('how')}). Give --loss {others}, or other data."
            )
        if self.batch > len(self.data.rows):
            raise BadInput(f"batch must be at most {len(self.data.rows)}, the number of {wanted}, got {self.batch}.")

    @property
    def strength(self) -> float:
        """The beta of the loss."""
        return BETA[self.loss] if self.beta is None else self.beta

    @property
    def updates(self) -> int:
        """How often the weights change."""
        examples = len(self.data.rows) * (2 if self.loss == "kto" else 1)  # it takes both rows of a pair by themselves
        return self.epochs * -(-examples // self.batch)

    def outcome(self, out: Path) -> str:
        """What `--model` calls the model that a finished training leaves in `out`: a folder, or an adapter's on top."""
        return f"{self.model}+{out / 'model'}" if self.lora else str(out / "model")

    def parts(self, processes: int) -> tuple[int, int]:
        """Return how many rows each process has in one forward pass, and how many passes make an update.

        Raises:
            BadInput: an update cannot be shared out evenly.
        """
        share = self.batch // processes
        if share * processes != self.batch:
            raise BadInput(f"batch {self.batch} cannot be shared out among {processes} processes. Make it a multiple.")
        passes = next(n for n in range(1, share + 1) if share % n == 0 and share // n <= self.part)
        return share // passes, passes

    def config(self, weights: str) -> dict[str, Any]:
        """What makes two trainings the same one: everything that can change a weight. `weights` marks the start."""
        header = self.data.header
        return {
            "model": self.model, "weights": weights, "data": header.get("how"), "rows": len(self.data.rows),
            "digest": self.data.digest, **deciding(self), "beta": self.strength,
            "token_loss": None if self.token_loss is None else canonical(self.token_loss),
        }  # fmt: skip
