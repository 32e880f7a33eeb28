"""What a run will do, with everything checked that can be checked before anything is computed."""

import re
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
from satisfice.core.spec import split as split_specs
from satisfice.measure.samples import SampleKey, question_digest
from satisfice.measure.subject import BASELINE, Subject, baseline_of, cross
from satisfice.methods.sampling import Truncation
from satisfice.tasks import Split, Task, load_tasks

LATER: Mapping[str, Any] = {"until_decided": False}
"""Settings that came later, with the value under which a run is what it was before: older runs go on."""

OWN = "own"
"""What `--sampler` calls the model's own sampling."""


@dataclass(frozen=True, kw_only=True)
class BenchJob:
    """One problem to be solved under one policy with one seed."""

    subject: Subject
    policy: Policy
    sampler: Truncation | None
    task: Task
    problem: Problem
    seed: int

    @property
    def name(self) -> str:
        """The canonical text of its policy."""
        return self.subject.policy

    @property
    def key(self) -> SampleKey:
        """What its sample is filed under."""
        return self.subject, self.task.name, self.problem.id, self.seed


@dataclass(frozen=True, kw_only=True)
class BenchPlan:
    """A run: every model with every sampler under every policy, on every problem of every task, with every seed.

    The first model with the first sampler under `full` is the baseline.
    """

    models: tuple[str, ...]
    tasks: tuple[Task, ...]
    policies: Mapping[str, Policy]  # by canonical text
    typed: Mapping[str, str] = field(default_factory=dict)  # how a person wrote them, by canonical text
    seeds: Annotated[tuple[int, ...], Range(0), Flag("Each problem is solved once per seed: 0,1,2 or 0..15.")] = (0,)
    limit: Annotated[int | None, Range(1), Flag("Problems per task. A claim needs 2,000.")] = None
    split: Annotated[Split, Flag("Which problems: eval, or calibration to choose settings on.")] = "eval"
    temperature: Annotated[float | None, Range(0), Flag("0: greedy. Default: the model's own.")] = None
    samplers: Mapping[str, Truncation | None] = field(default_factory=lambda: {"": None})  # by canonical text
    max_tokens: Annotated[int | None, Range(1), Flag("Longest chain, tokens. Default: the model's own.")] = None
    margin: Annotated[float, Flag("Accuracy that a rule may lose, as a fraction.")] = 0.02
    concurrency: Annotated[int, Range(1), Flag("Problems at once.", decides=False)] = 64
    shard: Annotated[str | None, Flag("One part of the problems: 3/16 is the third of sixteen.")] = None
    until_decided: Annotated[bool, Flag("Stop each comparison once its verdict is certain.")] = False
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
        models = ", ".join(self.models)
        require("model", models, bool(models) and len(set(self.models)) == len(self.models), "at least one, named once")
        part_of(self.shard)
        if self.until_decided:
            undividable = "its verdicts are looked for as problems come in, so all must come to one process"
            require("until-decided", f"on with shard {self.shard}", self.shard is None, f"off: {undividable}")
            require("until-decided", f"on with models {models}", len(self.models) == 1, "off, or model only one")
            require("until-decided", "on without full", BASELINE in self.policies, "off, or full among the policies")

    @property
    def subjects(self) -> list[Subject]:
        """What is compared, in the order of the tables."""
        return cross(self.models, list(self.samplers), list(self.policies))

    @property
    def size(self) -> int:
        """How many samples the run has."""
        part, parts = part_of(self.shard)
        problems = sum(len(task.problems[part::parts]) for task in self.tasks)
        return problems * len(self.subjects) * len(self.seeds)

    @property
    def repeated(self) -> int:
        """How many problems ask a question that an earlier one of their task asks under another id."""
        asked = [len({question_digest(problem.question) for problem in task.problems}) for task in self.tasks]
        return sum(len(task.problems) for task in self.tasks) - sum(asked)

    def jobs(self) -> Iterator[BenchJob]:
        """Yield all of it in the order in which it is done: a model at a time, and a policy finishes a task first."""
        part, parts = part_of(self.shard)
        for model in self.models:
            for task in self.tasks:
                for subject in self.subjects:
                    for seed in self.seeds if subject.model == model else ():
                        for problem in task.problems[part::parts]:
                            yield BenchJob(
                                subject=subject, policy=self.policies[subject.policy],
                                sampler=self.samplers[subject.sampler], task=task, problem=problem, seed=seed,
                            )  # fmt: skip

    def check_engine(self, engine: Engine) -> None:
        """Raise `Unfit` when the engine lacks what a policy or a sampler needs."""
        for policy in self.policies.values():
            check_fit([policy], engine.name, engine.provides)
        for sampler in self.samplers.values():
            if sampler is not None:
                check_fit(sampler.filters, engine.name, engine.provides)

    def ready(self, engine: Engine) -> Self:
        """Return the plan with its samplers told the temperature, and the output matrix where a filter needs it."""
        hot = engine.profile.temperature if self.temperature is None else self.temperature

        def told(sampler: Truncation | None) -> Truncation | None:
            if sampler is None:
                return None
            return replace(sampler, temperature=hot).bound(engine.unembedding)

        return replace(self, samplers={name: told(sampler) for name, sampler in self.samplers.items()})

    def config(self, engines: Mapping[str, Engine]) -> dict[str, Any]:
        """Return what makes two runs the same run: everything that can change a sample or a row."""
        told = {model: engines[model].describe() for model in self.models}
        baseline = baseline_of(self.subjects)
        assert baseline is not None
        recording = {model: one["recording"] for model, one in told.items() if "recording" in one}
        return {
            "models": list(self.models),
            "weights": {model: one.get("weights") for model, one in told.items()},
            "samplers": list(self.samplers),
            "baseline": baseline.as_row(),
            "tasks": [task.name for task in self.tasks],
            "problems": {task.name: {"n": len(task.problems), "digest": task.digest} for task in self.tasks},
            "policies": list(self.policies),
            **{name: value for name, value in deciding(self).items() if value != LATER.get(name, ...)},
            **({"recording": recording[self.models[0]]} if recording else {}),  # replayed, not run
        }


def part_of(shard: str | None) -> tuple[int, int]:
    """Return which part of how many a shard is, the first being 0; of None the whole.

    >>> part_of("3/16"), part_of(None)
    ((2, 16), (0, 1))
    """
    if shard is None:
        return 0, 1
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise BadInput(f"shard must be a part and how many there are, such as 1/16 to 16/16; got {shard!r}.")
    return int(found[1]) - 1, int(found[2])


def make_plan(
    *, model: str, tasks: Sequence[str], policies: str, limit: int | None, split: Split = "eval",
    allow_files: bool = False, sampler: str | None = None, **rest: Any,
) -> BenchPlan:  # fmt: skip
    """Build the policies and the samplers and load the tasks by name. `rest` are the other fields of `BenchPlan`.

    `model` may be several with commas between them, `sampler` several with semicolons: `own; min-p:0.1`, where `own`
    is the model's own.

    Raises:
        UnknownName: no such policy, field, task, tier or split.
        BadInput: a value out of range, a file that cannot be read, too few problems.
    """
    built, typed = named_policies(policies, allow_files=allow_files)
    samplers: dict[str, Truncation | None] = {}
    for text in (sampler or OWN).split(";"):
        chain = None if text.strip() == OWN else parse_sampler(text, allow_files=allow_files)
        name = "" if chain is None else sampler_text(chain)
        if name in samplers:
            raise BadInput(f"sampler: {name or OWN} is named more than once. Name each once.")
        samplers[name] = chain
    models = tuple(name.strip() for name in model.split(",") if name.strip())
    loaded = load_tasks(tasks, split=split, limit=limit)
    return BenchPlan(
        models=models, tasks=loaded, policies=built, typed=typed, limit=limit, split=split, samplers=samplers, **rest
    )  # fmt: skip


def named_policies(text: str, *, allow_files: bool = False) -> tuple[dict[str, Policy], dict[str, str]]:
    """Build policies from text; return them by canonical text, and how each was typed."""
    built = {canonical(policy): policy for policy in parse_policies(text, allow_files=allow_files)}
    return built, dict(zip(built, (spec.strip() for spec in split_specs(text)), strict=True))
