"""Record chains once, with everything that rules which only observe could ask of them later.

Each chain runs to its natural end, with what the model says of every token. Then copies of it are asked at its
checkpoints: for a trial answer, as rules that look do (greedily, after the profile's inducing text), and for the
visible answer that the chain itself would give if it were told to stop there (drawn with its own random key). Answers
are judged while a model is at work anyway. `satisfice.engines.recording` describes the files.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

import satisfice
from satisfice.answers.extract import extract_flexible, extract_strict, read_trial
from satisfice.bench.checkpoints import Place, places
from satisfice.bench.folder import clean
from satisfice.bench.judge import Judge
from satisfice.bench.plan import digest
from satisfice.bench.record_folder import Key, RecordFolder, Taken
from satisfice.bench.run import Judging, Told, run_all
from satisfice.core.card import Need
from satisfice.core.engine import Engine, Request, Sampled, Signals, random_key
from satisfice.core.engine import Sequence as EngineSequence
from satisfice.core.errors import BadInput, EngineError, Unfit, UnknownName
from satisfice.core.problem import Problem
from satisfice.core.profile import Profile
from satisfice.engines.recording import SCHEMA_VERSION, Ask, token_type
from satisfice.tasks import Split, Task

At = Literal["cue", "step"]
FLUSH_S = 5.0  # longest time that a finished chain waits to be written together with others
FORKS = 4  # copies of one chain that are asked at once


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
    asks: tuple[str, ...] = ()  # texts to put to copies besides the profile's; the name of a profile's field is one too
    trial_tokens: int = 32  # longest reply to those
    top_logprobs: int = 0  # how many of the likeliest tokens to keep at each position
    hidden: tuple[int, ...] = ()  # layers whose states to keep at checkpoints
    temperature: float | None = None  # None: the model's own
    max_tokens: int | None = None  # that one chain may sample; None: the model's own
    concurrency: int = 48  # chains at once

    def __post_init__(self) -> None:
        for name in self.at:
            if name not in get_args(At):
                raise UnknownName("kind of checkpoint", name, get_args(At))
        least = {"chains": 1, "every": 1, "trial_tokens": 1, "top_logprobs": 0, "max_tokens": 2, "concurrency": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise BadInput(f"{name.replace('_', '-')} must be at least {low}, got {value}.")
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


async def record(
    plan: RecordPlan, engine: Engine, out: Path, *, told: Told | None = None, judge: Judging | None = None
) -> int:
    """Do what is left of a plan; how many chains the folder then holds.

    Raises:
        Unfit: the engine lacks what the plan asks for.
        BadInput: `out` holds something else, or a recording with another config. Nothing is written then.
        CannotWrite: the disk is full. What was told is safe, and the same call goes on.
    """
    told = told or Told()
    taker = Taker(plan, engine)
    async with engine:
        header, width = await taker.header()
        prompts = ((task, problem, taker.prompt(problem)) for task in plan.tasks for problem in task.problems)
        problems = (
            {
                "task": task.name, "id": problem.id, "question": problem.question, "answer": problem.answer,
                "metadata": clean(problem.metadata), "prompt": prompt,
            }
            for task, problem, prompt in prompts
        )  # fmt: skip
        states = 4 * width * len(plan.hidden)
        with RecordFolder(
            path=out, header=header, problems=problems, states=states, record=taker.dtype.itemsize
        ) as folder:
            jobs = list(plan.jobs())
            left = [job for job in jobs if job.key not in folder.done]
            told.start(len(jobs) - len(left), len(jobs))
            if left:
                async with judge or Judge(plan.tasks) as judging:
                    await run_all(
                        left, lambda job: taker.take(job, judging), folder.append, lambda taken: told.sample(taken.row),
                        concurrency=plan.concurrency, sync_s=FLUSH_S,
                    )  # fmt: skip
    return len(jobs)


@dataclass
class _Runs:
    """What is recorded of a chain, while it is being taken."""

    records: list[NDArray[Any]] = field(default_factory=list)
    pieces: dict[int, bytes] = field(default_factory=dict)
    answers: dict[str, None] = field(default_factory=dict)  # those to be judged, each once


class Taker:
    """Takes chains from an engine, as a session would have them."""

    def __init__(self, plan: RecordPlan, engine: Engine) -> None:
        self.plan, self.engine, self.profile = plan, engine, engine.profile
        profile, provides = self.profile, engine.provides
        lacking = {Need.FORK, Need.INJECT} - provides
        lacking |= {Need.TOP_LOGPROBS} - provides if plan.top_logprobs else set()
        lacking |= {Need.HIDDEN} - provides if plan.hidden else set()
        if lacking:
            names = ", ".join(sorted(lacking))
            raise Unfit(f"this recording needs {names}, which the {engine.name} engine does not provide.")
        self.temperature = profile.temperature if plan.temperature is None else plan.temperature
        self.top_p = profile.top_p
        self.chain_limit = profile.max_tokens if plan.max_tokens is None else plan.max_tokens
        self.reserve = min(profile.answer_tokens, self.chain_limit)
        self.signals = Signals(
            logprobs=Need.LOGPROBS in provides, entropy=Need.ENTROPY in provides, top_logprobs=plan.top_logprobs
        )
        self.columns = {
            "logprob": self.signals.logprobs, "entropy": self.signals.entropy, "top": plan.top_logprobs,
        }  # fmt: skip
        self.dtype = token_type(**self.columns)  # type: ignore[arg-type]
        self.asks = (
            self._ask("answer", profile.close_thinking, greedy=False),
            self._ask("skip", profile.skip_thinking, greedy=False),
            self._ask("trial", profile.induce_answer, greedy=True),
            *(self._ask(name, text, greedy=True) for name, text in _texts(profile, plan.asks)),
        )
        close = engine.encode(profile.think_close)
        self._close = close[0] if len(close) == 1 else None

    async def header(self) -> tuple[dict[str, Any], int]:
        """What `recording.json` says, and the width of a hidden state."""
        plan, engine, profile = self.plan, self.engine, self.profile
        width = 0
        if plan.hidden:
            problem = plan.tasks[0].problems[0]
            one = await engine.open(problem.question, problem.id).sample(
                Request(limit=1, signals=Signals(hidden=plan.hidden))
            )
            width = int(one.hidden[plan.hidden[0]].shape[1])
        texts = {ask.text for ask in self.asks}
        for value in vars(profile).values():
            texts |= {value} if isinstance(value, str) else set(value) if isinstance(value, tuple) else set()
        header = {
            "schema_version": SCHEMA_VERSION,
            "config": {
                "model": plan.model, "weights": engine.describe().get("weights"),
                "tasks": [task.name for task in plan.tasks],
                "problems": {task.name: {"n": len(task.problems), "digest": digest(task)} for task in plan.tasks},
                "limit": plan.limit, "split": plan.split, "seeds": list(plan.seeds), "chains": plan.chains,
                "at": sorted(plan.at), "every": plan.every, "asks": list(plan.asks),
                "trial_tokens": plan.trial_tokens, "top_logprobs": plan.top_logprobs, "hidden": list(plan.hidden),
                "temperature": plan.temperature, "max_tokens": plan.max_tokens,
            },
            "engine": engine.describe(), "satisfice": satisfice.__version__,
            "profile": {k: v for k, v in vars(profile).items() if k in type(profile).__dataclass_fields__},
            "temperature": self.temperature, "top_p": self.top_p, "max_length": engine.max_length,
            "end_ids": sorted(engine.end_ids), "columns": self.columns,
            "hidden": {"layers": list(plan.hidden), "width": width},
            "asks": [{"name": a.name, "text": a.text, "ids": a.ids, "greedy": a.greedy} for a in self.asks],
            "encodings": {text: engine.encode(text) for text in sorted(filter(None, texts))},
        }  # fmt: skip
        return clean(header), width

    def prompt(self, problem: Problem) -> list[int]:
        """The tokens of a problem's prompt."""
        sequence = self.engine.open(problem.question, problem.id)
        ids = list(sequence.ids)
        sequence.close()
        return ids

    async def take(self, job: Job, judge: Judging) -> Taken:
        """Record one chain."""
        base = self.engine.open(job.problem.question, job.problem.id)
        trunk = base.fork(len(base.ids))
        try:
            return await self._take(job, judge, base, trunk)
        finally:
            trunk.close()
            base.close()

    async def _take(self, job: Job, judge: Judging, base: EngineSequence, trunk: EngineSequence) -> Taken:
        key, runs = random_key(job.seed, job.problem.id, job.chain), _Runs()
        prompt = len(base.ids)
        parts, thinking, ended = await self._run(trunk, key)
        ids = trunk.ids[prompt:]
        self._keep(runs, ids, parts)
        text = self.engine.decode(ids[:thinking])
        if b"".join(map(self.engine.piece, ids)).decode("utf-8", "replace") != self.engine.decode(ids):
            raise EngineError(
                "the text of this model's tokens depends on their neighbours, which a recording cannot hold"
            )
        visible = self._text(ids[thinking:]).partition(self.profile.think_close)[2]
        _read(runs.answers, visible, self.profile)
        stated = self.profile.stated.finditer(text) if self.profile.stated is not None else ()
        runs.answers |= dict.fromkeys(found[1] for found in stated)
        points, rows = self._places(ids, thinking, ended), []
        for place in points:
            counts: list[int | None] = [None] * len(self.asks)
            asked = [i for i, ask in enumerate(self.asks) if ask.name != "skip" or place.at == 0]
            for some in (asked[i : i + FORKS] for i in range(0, len(asked), FORKS)):
                replies = await asyncio.gather(
                    *(self._reply(base, trunk, place, self.asks[i], key, prompt) for i in some)
                )
                for i, said in zip(some, replies, strict=True):
                    counts[i] = len(said.ids)
                    self._keep(runs, said.ids, [said])
                    _read(runs.answers, self._text(said.ids), self.profile, trial=self.asks[i].greedy)
            rows.append({"at": place.at, "why": "+".join(place.why), "replies": counts})
            if place.cue:
                rows[-1]["cue"] = place.cue
        states = self._states(parts, points, rows)
        verdicts = {answer: (await judge.verdict(job.problem, answer)).value for answer in runs.answers}
        row = {
            "task": job.task.name, "problem": job.problem.id, "seed": job.seed, "chain": job.chain, "ended": ended,
            "thinking": thinking, "tokens": len(ids), "checkpoints": rows, "verdicts": verdicts,
        }  # fmt: skip
        return Taken(row=row, tokens=np.concatenate(runs.records), states=states, pieces=runs.pieces)

    async def _run(self, trunk: EngineSequence, key: int) -> tuple[list[Sampled], int, str]:
        """Let a chain run to its natural end: what it sampled, how much of that is thinking, and how that ended.

        The moves and the limits are those of `Chain.finish`.
        """
        end_ids, prompt = self.engine.end_ids, len(trunk.ids)
        room = min(self.chain_limit, self.engine.max_length - prompt) - self.reserve
        request = Request(
            limit=max(0, room), key=key, temperature=self.temperature, top_p=self.top_p,
            stop_ids=end_ids | ({self._close} if self._close is not None else frozenset()),
            stop_texts=() if self._close is not None else (self.profile.think_close,), match_from=prompt,
            signals=replace(self.signals, hidden=self.plan.hidden),
        )  # fmt: skip
        if request.limit == 0:
            return [], 0, "limit"
        got = await trunk.sample(request)
        if got.reason == "length":
            return [got], len(got.ids), "limit"
        if got.reason == "token" and got.ids[-1] != self._close:
            return [got], len(got.ids) - 1, "turn"
        thinking = len(got.ids) - 1 if got.reason == "token" else got.cut - prompt
        room = min(self.chain_limit - len(got.ids), self.engine.max_length - len(trunk.ids))
        if room <= 0:
            return [got], thinking, "model"
        said = await trunk.sample(
            replace(request, limit=room, stop_ids=end_ids, stop_texts=(), match_from=len(trunk.ids))
        )
        return [got, said], thinking, "model"

    def _places(self, ids: list[int], thinking: int, ended: str) -> list[Place]:
        profile, at = self.profile, self.plan.at
        return places(
            ids[:thinking], self.engine.decode, cues=profile.cues if "cue" in at else (),
            step=profile.step if "step" in at else "", every=self.plan.every, limit=ended == "limit",
        )  # fmt: skip

    async def _reply(
        self, base: EngineSequence, trunk: EngineSequence, place: Place, ask: Ask, key: int, prompt: int
    ) -> Sampled:
        """Ask a copy of the chain something.

        What the copy has yet to read when it is told is what a chain would have that stopped here by itself: before a
        cue nothing, else its newest token. In the last bit that can matter.
        """
        end = prompt + place.at
        unread = [] if place.cue or not place.at else [trunk.ids[end - 1]]
        copy = (trunk if place.at or place.cue else base).fork(end - len(unread))
        copy.extend([*unread, *ask.ids])
        room = min(self.chain_limit - place.at, self.engine.max_length - len(copy.ids))
        limit = min(self.plan.trial_tokens, room) if ask.greedy else room
        if limit <= 0:
            copy.close()
            return Sampled(ids=(), reason="length", cut=len(copy.ids))
        try:
            return await copy.sample(
                Request(
                    limit=limit, stop_ids=self.engine.end_ids, key=key, signals=self.signals,
                    temperature=0.0 if ask.greedy else self.temperature, top_p=1.0 if ask.greedy else self.top_p,
                )
            )  # fmt: skip
        finally:
            copy.close()

    def _keep(self, runs: _Runs, ids: Sequence[int], parts: list[Sampled]) -> None:
        """Put tokens and what was said of them into records."""
        records = np.zeros(len(ids), dtype=self.dtype)
        records["id"] = ids
        for column, name in {
            "logprob": "logprobs", "entropy": "entropy", "top_id": "top_ids", "top_logprob": "top_logprobs",
        }.items():  # fmt: skip
            if column in (self.dtype.names or ()) and parts:
                told = [values for part in parts if (values := getattr(part, name)) is not None and len(part.ids)]
                if sum(map(len, told)) != len(ids):
                    raise EngineError(f"the engine gave {sum(map(len, told))} {name} for {len(ids)} tokens")
                records[column] = np.concatenate(told) if told else 0
        runs.records.append(records)
        runs.pieces |= {i: self.engine.piece(i) for i in set(ids) - runs.pieces.keys()}

    def _states(self, parts: list[Sampled], points: list[Place], rows: list[dict[str, Any]]) -> NDArray[np.float32]:
        """Two states a checkpoint: that which predicts the next token, and that at the cue's last token."""
        if not self.plan.hidden or not parts:
            return np.zeros((0, 0, 0), dtype=np.float32)
        told = np.stack([np.concatenate([part.hidden[n] for part in parts]) for n in self.plan.hidden], axis=1)
        kept = []
        for place, row in zip(points, rows, strict=True):
            where = [place.at, place.at + place.width]
            row["hidden"] = where[-1] < len(told)
            kept += [told[i] for i in where] if row["hidden"] else []
        return np.array(kept, dtype=np.float32)

    def _ask(self, name: str, text: str, *, greedy: bool) -> Ask:
        return Ask(name=name, text=text, ids=tuple(self.engine.encode(text)), greedy=greedy)

    def _text(self, ids: Sequence[int]) -> str:
        return self.engine.decode([i for i in ids if i not in self.engine.end_ids])


def _read(answers: dict[str, None], text: str, profile: Profile, *, trial: bool = False) -> None:
    """Note every answer that some rule or verdict could read from a text."""
    read = [extract_strict(text, profile.answer_form), extract_flexible(text)] + ([read_trial(text)] if trial else [])
    answers |= dict.fromkeys(answer for answer in read if answer is not None)


def _texts(profile: Profile, asks: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The texts that were asked for, by name: the fields of the profile, and plain texts under themselves."""
    seen = {profile.induce_answer}
    for ask in asks:
        value = getattr(profile, ask, None) if ask in type(profile).__dataclass_fields__ else ask
        texts = [value] if isinstance(value, str) else list(value) if isinstance(value, tuple) else []
        if not texts or not all(texts):
            raise BadInput(f"ask: {ask!r} is no text and no field of the profile {profile.name!r} that holds texts.")
        for text in texts:
            if text not in seen:
                seen.add(text)
                yield text, text
