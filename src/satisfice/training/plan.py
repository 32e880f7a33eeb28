"""What a training will do, with everything checked that can be checked before anything is computed."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from satisfice.catalog import as_json, canonical
from satisfice.core.errors import BadInput
from satisfice.core.problem import Problem
from satisfice.core.shaper import Shaper, reads
from satisfice.tasks import Task

SOURCES = ("local", "transformers", "vllm")
DTYPES = ("float32", "bfloat16")
REPORTERS = ("none", "trackio", "wandb", "tensorboard")


@dataclass(frozen=True, kw_only=True)
class TrainPlan:
    """A training: a model, problems, a method, and how long."""

    model: str  # `pocket` or a folder
    tasks: tuple[Task, ...]  # their training split
    shaper: Shaper
    steps: int  # batches of rollouts
    prompts: int = 16  # problems a step
    group: int = 8  # rollouts a problem
    max_tokens: int = 512  # of a rollout; a method's caps may be smaller
    temperature: float = 1.0  # of the rollouts, and of the policy that is trained
    learning_rate: float = 1e-6
    warmup: int = 0  # steps in which the rate rises
    updates: int = 1  # of the weights a step
    part: int = 16  # rollouts in one forward pass on each process; changes memory and speed alone
    bf16: bool = False  # forward and backward passes in bfloat16, weights in float32
    refill: int = 0  # times that groups without anything to learn are sampled again, with other problems
    save_every: int = 10  # steps between checkpoints
    keep_every: int = 0  # steps between models that are kept beside the last, to choose among; 0: the last alone
    seed: int = 0
    report_to: str = "none"
    device: Literal["cpu", "cuda"] = "cpu"
    rollouts: Literal["local", "transformers", "vllm"] = "local"  # who samples: our engine, or TRL by one of these
    rollout_dtype: Literal["float32", "bfloat16"] = "float32"  # in which our engine samples
    lora: int = 0  # rank of an adapter that is trained in place of the weights; 0: none, the weights themselves

    def __post_init__(self) -> None:
        def require(name: str, value: object, holds: bool, what: str) -> None:
            if not holds:
                raise BadInput(f"{name} must be {what}, got {value}.")

        for name in ("steps", "prompts", "max_tokens", "updates", "part", "save_every"):
            require(name.replace("_", "-"), getattr(self, name), getattr(self, name) >= 1, "at least 1")
        require("group", self.group, self.group >= 2, "at least 2: methods compare the rollouts of one problem")
        require("temperature", self.temperature, 0 < self.temperature < float("inf"), "above 0")
        require("learning-rate", self.learning_rate, 0 < self.learning_rate < 1, "between 0 and 1")
        require("warmup", self.warmup, self.warmup >= 0, "0 or more")
        require("refill", self.refill, self.refill >= 0, "0 or more")
        require("keep-every", self.keep_every, self.keep_every >= 0, "0 or more")
        require(
            "keep-every",
            self.keep_every,
            not self.keep_every or "value" not in reads(self.shaper),
            "0 for a method with a value head, which comes off with the last model",
        )
        require("lora", self.lora, self.lora >= 0, "the rank of an adapter, or 0 for none")
        require(
            "lora", self.lora, not self.lora or "value" not in reads(self.shaper), "0 for a method with a value head"
        )
        require("seed", self.seed, 0 <= self.seed < 2**31, "a whole number from 0")
        require("device", self.device, self.device in ("cpu", "cuda"), "cpu or cuda")
        require("rollouts", self.rollouts, self.rollouts in SOURCES, f"one of {', '.join(SOURCES)}")
        require("rollout-dtype", self.rollout_dtype, self.rollout_dtype in DTYPES, f"one of {', '.join(DTYPES)}")
        require(
            "rollout-dtype",
            self.rollout_dtype,
            self.rollouts == "local" or self.rollout_dtype == "float32",
            f"left out with rollouts={self.rollouts}, which samples with the weights that are trained",
        )
        require("report-to", self.report_to, self.report_to in REPORTERS, f"one of {', '.join(REPORTERS)}")
        names = [task.name for task in self.tasks]
        require("tasks", ", ".join(names), bool(names) and len(set(names)) == len(names), "at least one, each once")
        require("tasks", ", ".join(names), all(task.problems for task in self.tasks), "tasks that have problems")
        n = len(self.problems)
        require("prompts", self.prompts, self.prompts <= n, f"at most {n}, the number of different problems there are")

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
            **{
                name: getattr(self, name)
                for name in (
                    "steps", "prompts", "group", "max_tokens", "temperature", "learning_rate", "warmup", "updates",
                    "part", "bf16", "refill", "seed", "device", "rollouts",
                )
            },
            **({"lora": self.lora} if self.lora else {}),
            **({"rollout_dtype": self.rollout_dtype} if self.rollout_dtype != "float32" else {}),
        }  # fmt: skip
