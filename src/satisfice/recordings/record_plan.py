"""What a recording will hold, with everything checked that can be checked before anything is computed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from satisfice.core.errors import BadInput, UnknownName
from satisfice.core.problem import Problem
from satisfice.recordings.record_folder import Key
from satisfice.tasks import Split, Task

At = Literal["cue", "step"]


@dataclass(frozen=True, kw_only=True)
class RecordPlan:
    """What to record: every chain of every seed of every problem of every task."""

    model: str
    tasks: tuple[Task, ...]
    limit: int | None = None  # problems a task
    split: Split = "eval"
    seeds: tuple[int, ...] = (0,)
    chains: int = 1  # a problem and seed; rules over n chains need n
    at: tuple[At, ...] = ("cue",)  # where copies are asked: before cues, after steps
    every: int | None = None  # and after every so many tokens of thinking
    asks: tuple[str, ...] = ()  # texts to put to copies besides the profile's, or names of fields that hold such texts
    trial_tokens: int = 32  # longest reply to those
    top_logprobs: int = 0  # how many of the likeliest tokens to keep at each position
    hidden: tuple[int, ...] = ()  # layers whose states to keep at checkpoints
    hidden_first: int = 0  # and of the first so many tokens of each chain
    temperature: float | None = None  # None: the model's own
    max_tokens: int | None = None  # that one chain may sample; None: the model's own
    concurrency: int = 48  # chains at once

    def __post_init__(self) -> None:
        for kind in self.at:
            if kind not in get_args(At):
                raise UnknownName("kind of checkpoint", kind, get_args(At))
        least = {
            "chains": 1, "every": 1, "trial_tokens": 1, "top_logprobs": 0, "hidden_first": 0, "max_tokens": 2,
            "concurrency": 1,
        }  # fmt: skip
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise BadInput(f"{name.replace('_', '-')} must be at least {low}, got {value}.")
        if self.hidden_first and not self.hidden:
            raise BadInput("hidden-first needs hidden: say of which layers the states are to be kept.")
        if not self.seeds or min(self.seeds) < 0 or len(set(self.seeds)) < len(self.seeds):
            raise BadInput(f"seeds must be different whole numbers from 0, got {list(self.seeds)}.")
        if not self.tasks or len({task.name for task in self.tasks}) < len(self.tasks):
            raise BadInput("tasks must be at least one, each named once.")

    @property
    def size(self) -> int:
        """How many chains there will be."""
        return sum(len(task.problems) for task in self.tasks) * len(self.seeds) * self.chains

    def jobs(self) -> Iterator["Job"]:
        """All of it, in the order in which it is done: every problem once before any a second time."""
        for task in self.tasks:
            for seed in self.seeds:
                for number in range(self.chains):
                    for problem in task.problems:
                        yield Job(task=task, problem=problem, seed=seed, chain=str(number))


@dataclass(frozen=True, kw_only=True)
class Job:
    """One chain to be recorded."""

    task: Task
    problem: Problem
    seed: int
    chain: str

    @property
    def key(self) -> Key:
        """What it is filed under."""
        return self.task.name, self.problem.id, self.seed, self.chain
