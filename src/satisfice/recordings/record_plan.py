"""What a recording will hold, with everything checked that can be checked before anything is computed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.flags import Flag, check_settings
from satisfice.core.problem import Problem
from satisfice.recordings.record_folder import ChainKey
from satisfice.tasks import Split, Task

At = Literal["cue", "step"]


@dataclass(frozen=True, kw_only=True)
class RecordPlan:
    """What to record: every chain of every seed of every problem of every task."""

    model: str
    tasks: tuple[Task, ...]
    limit: Annotated[int | None, Range(1), Flag("Problems per task. A claim needs 2,000.")] = None
    split: Annotated[Split, Flag("Which problems: eval, calibration or train.")] = "eval"
    seeds: Annotated[tuple[int, ...], Range(0), Flag("Each problem is recorded once per seed: 0,1,2 or 0..15.")] = (0,)
    chains: Annotated[int, Range(1), Flag("Chains per problem and seed; a policy over n chains needs n.")] = 1
    at: Annotated[tuple[At, ...], Flag("Where copies are asked for their answer: cue, step, or both.")] = ("cue",)
    every: Annotated[int | None, Range(1), Flag("And after every so many tokens of thinking.")] = None
    asks: Annotated[
        tuple[str, ...],
        Flag("Another text to ask copies with, or a rule's words: deer-pro.inducers. May be given again.", name="ask"),
    ] = ()
    trial_tokens: Annotated[int, Range(1), Flag("Longest trial answer, tokens.")] = 32
    top_logprobs: Annotated[int, Range(0), Flag("Keep this many of the likeliest tokens at each position.")] = 0
    hidden: Annotated[tuple[int, ...], Flag("Keep hidden states of these layers at checkpoints, such as 2,-1.")] = ()
    hidden_first: Annotated[int, Range(0), Flag("And of the first so many tokens of each chain.")] = 0
    temperature: Annotated[float | None, Range(0), Flag("0: greedy. Default: the model's own.")] = None
    max_tokens: Annotated[int | None, Range(2), Flag("Longest chain, tokens. Default: the model's own.")] = None
    concurrency: Annotated[int, Range(1), Flag("Chains at once.", decides=False)] = 48

    def __post_init__(self) -> None:
        check_settings(self)
        if self.hidden_first and not self.hidden:
            raise BadInput("hidden-first needs hidden: say of which layers the states are to be kept.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise BadInput(f"seeds must be different whole numbers from 0, got {list(self.seeds)}.")
        if not self.tasks or len({task.name for task in self.tasks}) < len(self.tasks):
            raise BadInput("tasks must be at least one, each named once.")

    @property
    def size(self) -> int:
        """How many chains there will be."""
        return sum(len(task.problems) for task in self.tasks) * len(self.seeds) * self.chains

    def jobs(self) -> Iterator["RecordJob"]:
        """Yield the chains to record, in their order: every problem once before any a second time."""
        for task in self.tasks:
            for seed in self.seeds:
                for number in range(self.chains):
                    for problem in task.problems:
                        yield RecordJob(task=task, problem=problem, seed=seed, chain=str(number))


@dataclass(frozen=True, kw_only=True)
class RecordJob:
    """One chain to be recorded."""

    task: Task
    problem: Problem
    seed: int
    chain: str

    @property
    def key(self) -> ChainKey:
        """What it is filed under."""
        return self.task.name, self.problem.id, self.seed, self.chain
