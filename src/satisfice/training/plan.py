"""What a training will do, with everything checked that can be checked before anything is computed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from satisfice.catalog import as_json, canonical
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.flags import Flag, check_settings, deciding
from satisfice.core.halter import Halter
from satisfice.core.problem import Problem
from satisfice.core.shaper import RewardRange, Shaper, reads, reward_range
from satisfice.tasks import Task

LATER = {"lora": 0, "rollout_dtype": "float32", "stop_every": 5}
"""Settings that came after the first release, at which older trainings ran: left out of the config there."""


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """A training: a model, problems, a method, and how long."""

    model: str  # a name as everywhere: `pocket`, a folder, MODEL+ADAPTER
    tasks: tuple[Task, ...]  # their training split
    shaper: Shaper
    steps: Annotated[int, Range(1), Flag("Batches of rollouts.")] = 100
    prompts: Annotated[int, Range(1), Flag("Problems per step.")] = 16
    group: Annotated[int, Range(2), Flag("Rollouts per problem; methods compare those of one problem.")] = 8
    max_tokens: Annotated[int, Range(1), Flag("Longest rollout, tokens; a method's caps may be smaller.")] = 512
    temperature: Annotated[float, Range(0), Flag("Of the rollouts. Default: the model's own.")] = 1.0
    learning_rate: Annotated[float, Range(0), Flag("Default: 1e-06; 0.0003 for the pocket reasoner.")] = 1e-6
    warmup: Annotated[int, Range(0), Flag("Steps in which the rate rises.")] = 0
    updates: Annotated[int, Range(1), Flag("Updates of the weights per step.")] = 1
    part: Annotated[int, Range(1), Flag("Rollouts in one forward pass: fewer take less memory.")] = 16
    bf16: Annotated[bool, Flag("Run forward and backward passes in bfloat16.")] = False
    refill: Annotated[int, Range(0), Flag("Times per step that groups which teach nothing are sampled again.")] = 0
    save_every: Annotated[int, Range(1), Flag("Steps between checkpoints.", decides=False)] = 10
    keep_every: Annotated[
        int, Range(0), Flag("Steps between models that are kept, to choose among; 0: the last only.", decides=False)
    ] = 0
    seed: Annotated[int, Range(0, 2**31 - 1), Flag("Of the order of the problems and the rollouts.")] = 0
    report_to: Annotated[
        Literal["none", "trackio", "wandb", "tensorboard"], Flag("Where figures are sent.", decides=False)
    ] = "none"
    device: Annotated[Literal["cpu", "cuda"], Flag("Where to train.")] = "cpu"
    rollouts: Annotated[
        Literal["local", "transformers", "vllm"], Flag("Who samples: our engine, or TRL by transformers or vllm.")
    ] = "local"
    rollout_dtype: Annotated[Literal["float32", "bfloat16"], Flag("In which our engine samples.")] = "float32"
    reward_range: Annotated[
        RewardRange | None, Flag("What right and wrong are worth. Default: what the method is made for.", decides=False)
    ] = None
    stop_when: Halter | None = None  # asked after every look at the held-out problems
    held_out: tuple[Task, ...] = ()  # problems of another split, for `stop_when`; the judge must know them too
    stop_every: Annotated[int, Range(1), Flag("Steps between two looks at held-out problems, for --stop-when.")] = 5
    lora: Annotated[int, Range(0), Flag("Rank of an adapter, a few MB, to train in place of the weights; 0: none.")] = 0

    def __post_init__(self) -> None:
        def require(name: str, value: object, holds: bool, what: str) -> None:
            if not holds:
                raise BadInput(f"{name} must be {what}, got {value}.")

        check_settings(self)
        require("temperature", self.temperature, self.temperature > 0, "above 0")
        require("learning-rate", self.learning_rate, 0 < self.learning_rate < 1, "between 0 and 1")
        value_head = "value" in reads(self.shaper)
        require(
            "keep-every", self.keep_every, not (self.keep_every and value_head),
            "0 for a method with a value head, which comes off with the last model",
        )  # fmt: skip
        require("lora", self.lora, not (self.lora and value_head), "0 for a method with a value head")
        require(
            "rollout-dtype", self.rollout_dtype, self.rollouts == "local" or self.rollout_dtype == "float32",
            f"left out with rollouts={self.rollouts}, which samples with the weights that are trained",
        )  # fmt: skip
        names = [task.name for task in self.tasks]
        require("tasks", ", ".join(names), bool(names) and len(set(names)) == len(names), "at least one, each once")
        require("tasks", ", ".join(names), all(task.problems for task in self.tasks), "tasks that have problems")
        held = sum(len(task.problems) for task in self.held_out)
        require("stop-when", "without held-out problems", self.stop_when is None or held > 0, "with some: --held-out")
        n = len(self.problems)
        require("prompts", self.prompts, self.prompts <= n, f"at most {n}, the number of different problems there are")

    @property
    def rewards(self) -> RewardRange:
        """What right and wrong verdicts are worth in this training."""
        return reward_range(self.shaper) if self.reward_range is None else self.reward_range

    @property
    def problems(self) -> list[Problem]:
        """The problems of all tasks by turns, each question once."""
        longest = max(len(task.problems) for task in self.tasks)
        turns = [task.problems[i] for i in range(longest) for task in self.tasks if i < len(task.problems)]
        return list({problem.question: problem for problem in turns}.values())

    def outcome(self, out: Path, step: int | None = None) -> str:
        """What `--model` calls the model that a finished training leaves in `out`: a folder, or an adapter's on top.

        With `step`, one of those that `keep_every` keeps.
        """
        folder = out / ("model" if step in (None, self.steps) else f"model-{step}")
        return f"{self.model}+{folder}" if self.lora else str(folder)

    def parts(self, processes: int) -> int:
        """In how many forward passes each process goes through its part of a step's rollouts.

        Raises:
            BadInput: the rollouts of a step cannot be shared out evenly.
        """
        rows = self.prompts * self.group
        share = rows // processes // self.updates
        if share < 1 or share * processes * self.updates != rows:
            raise BadInput(
                f"a step's {rows} rollouts ({self.prompts} prompts, group {self.group}) cannot be shared out among "
                f"{processes} processes and {self.updates} updates. Make prompts a multiple of both."
            )
        return next(n for n in range(1, share + 1) if share % n == 0 and share // n <= self.part)

    def config(self, weights: str) -> dict[str, Any]:
        """What makes two trainings the same one: everything that can change a weight. `weights` marks the start."""
        return {
            "model": self.model,
            "weights": weights,
            "tasks": [task.name for task in self.tasks],
            "problems": {task.name: {"n": len(task.problems), "digest": task.digest} for task in self.tasks},
            "shaper": canonical(self.shaper),
            "shaper_fields": as_json(self.shaper),
            "reward_range": self.rewards,
            **{name: value for name, value in deciding(self).items() if value != LATER.get(name, ...)},
            **self._stopping(),
        }

    def _stopping(self) -> dict[str, Any]:
        if self.stop_when is None:
            return {}
        held = {task.name: {"n": len(task.problems), "digest": task.digest} for task in self.held_out}
        return {"stop_when": canonical(self.stop_when), "held_out": held}
