"""What a run will do, with everything checked that can be checked before anything is computed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Self

from satisfice.catalog import canonical, check_fit, parse_policies, parse_sampler, sampler_text
from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput
from satisfice.core.fields import Range
from satisfice.core.flags import Flag, check_settings, deciding
from satisfice.core.problem import Problem
from satisfice.core.session import Policy
from satisfice.core.spec import split
from satisfice.methods.sampling import Truncation
from satisfice.tasks import Split, Task, load_tasks

Key = tuple[str, str, str, int]
"""Policy, task, problem and seed: what one sample is of."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One problem to be solved under one policy with one seed."""

    name: str  # canonical text of the policy
    policy: Policy
    task: Task
    problem: Problem
    seed: int

    @property
    def key(self) -> Key:
        """What its sample is filed under."""
        return self.name, self.task.name, self.problem.id, self.seed


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A run: every policy on every problem of every task, with every seed."""

    model: str
    tasks: tuple[Task, ...]
    policies: Mapping[str, Policy]  # by canonical text
    typed: Mapping[str, str] = field(default_factory=dict)  # how a person wrote them, by canonical text
    seeds: Annotated[tuple[int, ...], Range(0), Flag("Each problem is solved once per seed: 0,1,2 or 0..15.")] = (0,)
    limit: Annotated[int | None, Range(1), Flag("Problems per task. A claim needs 2,000.")] = None
    split: Annotated[Split, Flag("Which problems: eval, or calibration to choose settings on.")] = "eval"
    temperature: Annotated[float | None, Range(0), Flag("0: greedy. Default: the model's own.")] = None
    sampler: Truncation | None = None  # what truncates the next-token distribution; None: the model's own top-p
    max_tokens: Annotated[int | None, Range(1), Flag("Longest chain, tokens. Default: the model's own.")] = None
    margin: Annotated[float, Flag("Accuracy that a rule may lose, as a fraction.")] = 0.02
    concurrency: Annotated[int, Range(1), Flag("Problems at once.", decides=False)] = 64
    timed: bool = True  # False: replayed, so the time that it takes says nothing about the model

    def __post_init__(self) -> None:
        def require(name: str, value: object, holds: bool, what: str) -> None:
            if not holds:
                raise BadInput(f"{name} must be {what}, got {value}.")

        check_settings(self)
        require("seeds", list(self.seeds), bool(self.seeds), "at least one whole number from 0")
        require("seeds", list(self.seeds), len(set(self.seeds)) == len(self.seeds), "different from one another")
        require("margin", self.margin, 0 < self.margin < 1, "a fraction between 0 and 1, such as 0.02")
        names = [task.name for task in self.tasks]
        require(
            "tasks", ", ".join(names), bool(names) and len(set(names)) == len(names), "at least one, each named once"
        )
        require("policies", "none", bool(self.policies), "at least one")

    @property
    def size(self) -> int:
        """How many samples the run has."""
        return sum(len(task.problems) for task in self.tasks) * len(self.policies) * len(self.seeds)

    def jobs(self) -> Iterator[Job]:
        """All of it, in the order in which it is done: a policy finishes a task before the next begins it."""
        for task in self.tasks:
            for name, policy in self.policies.items():
                for seed in self.seeds:
                    for problem in task.problems:
                        yield Job(name=name, policy=policy, task=task, problem=problem, seed=seed)

    def check_engine(self, engine: Engine) -> None:
        """Raise `Unfit` when the engine lacks what a policy or the sampler needs."""
        for policy in self.policies.values():
            check_fit([policy], engine.name, engine.provides)
        if self.sampler is not None:
            check_fit(self.sampler.filters, engine.name, engine.provides)

    def ready(self, engine: Engine) -> Self:
        """The same with its sampler told the temperature, and the output matrix where a filter needs it."""
        if self.sampler is None:
            return self
        hot = engine.profile.temperature if self.temperature is None else self.temperature
        given = replace(self.sampler, temperature=hot)
        return replace(self, sampler=given.bound(engine.unembedding))

    def config(self, engine: Engine) -> dict[str, Any]:
        """What makes two runs the same run: everything that can change a sample or a row."""
        told = engine.describe()
        return {
            "model": self.model,
            "weights": told.get("weights"),
            "tasks": [task.name for task in self.tasks],
            "problems": {task.name: {"n": len(task.problems), "digest": task.digest} for task in self.tasks},
            "policies": list(self.policies),
            **deciding(self),
            **({} if self.sampler is None else {"sampler": sampler_text(self.sampler)}),
            **({"recording": told["recording"]} if "recording" in told else {}),  # replayed, not run
        }


def make_plan(
    *, model: str, tasks: Sequence[str], policies: str, limit: int | None, split: Split = "eval",
    allow_files: bool = False, sampler: str | None = None, **rest: Any,
) -> Plan:  # fmt: skip
    """Build the policies and the sampler and load the tasks by name. `rest` are the other fields of `Plan`.

    Raises:
        UnknownName: no such policy, field, task, tier or split.
        BadInput: a value out of range, a file that cannot be read, too few problems.
    """
    built, typed = named_policies(policies, allow_files=allow_files)
    truncation = None if sampler is None else parse_sampler(sampler, allow_files=allow_files)
    loaded = load_tasks(tasks, split=split, limit=limit)
    return Plan(
        model=model, tasks=loaded, policies=built, typed=typed, limit=limit, split=split, sampler=truncation, **rest
    )  # fmt: skip


def named_policies(text: str, *, allow_files: bool = False) -> tuple[dict[str, Policy], dict[str, str]]:
    """Build policies from text; return them by canonical text, and how each was typed."""
    built = {canonical(policy): policy for policy in parse_policies(text, allow_files=allow_files)}
    return built, dict(zip(built, (spec.strip() for spec in split(text)), strict=True))
