"""Take one chain from an engine, as a session would have it, and ask copies of it at its checkpoints."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import satisfice
from satisfice.answers.extract import extract_flexible, extract_strict, read_trial
from satisfice.catalog import METHODS
from satisfice.core.card import Need
from satisfice.core.chain import Chain
from satisfice.core.engine import Engine, Request, Sampled, Signals, random_key
from satisfice.core.engine import Sequence as EngineSequence
from satisfice.core.errors import BadInput, EngineError, Unfit
from satisfice.core.files import clean
from satisfice.core.flags import deciding
from satisfice.core.problem import Problem
from satisfice.core.profile import Profile
from satisfice.core.session import Session
from satisfice.methods.stopping.trial import word_forms
from satisfice.recordings.checkpoints import Place, places
from satisfice.recordings.files import SCHEMA_VERSION, token_type
from satisfice.recordings.record_folder import Taken
from satisfice.recordings.record_plan import RecordJob, RecordPlan
from satisfice.recordings.recording import LOOK, Ask
from satisfice.recordings.rule_words import every_word, is_closing, rule_word
from satisfice.tasks import Task
from satisfice.tasks.judge import Judging

FORKS = 4  # copies of one chain that are asked at once


@dataclass
class _Runs:
    """What is recorded of a chain, while it is being taken."""

    records: list[NDArray[Any]] = field(default_factory=list)
    ids: set[int] = field(default_factory=set)  # tokens that it takes to tell the text
    encodings: dict[str, list[int]] = field(default_factory=dict)  # of cues that copies looked at, and of answers
    looks: list[Mapping[int, NDArray[np.float32]]] = field(default_factory=list)  # the states that they saw
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
            *(self._ask(name, text, greedy=greedy) for name, text, greedy in _texts(profile, plan.asks)),
            *([self._ask(LOOK, "", greedy=True, cue=True)] if plan.hidden else []),
        )

    async def header(self) -> tuple[dict[str, Any], int]:
        """Return what `recording.json` says, and the width of a hidden state."""
        plan, engine, profile = self.plan, self.engine, self.profile
        width = 0
        if plan.hidden:
            problem = plan.tasks[0].problems[0]
            one = await engine.open(problem.question, problem.id).sample(
                Request(limit=1, signals=Signals(hidden=plan.hidden))
            )
            width = int(one.hidden[plan.hidden[0]].shape[1])
        texts = {ask.text for ask in self.asks}
        for value in (*vars(profile).values(), *every_word(profile)):
            texts |= (
                {value} if isinstance(value, str) else set(word_forms(value)) if isinstance(value, tuple) else set()
            )
        encodings = {text: engine.encode(text) for text in sorted(filter(None, texts))}
        header = {
            "schema_version": SCHEMA_VERSION,
            "config": {
                "model": plan.model, "weights": engine.describe().get("weights"),
                "tasks": [task.name for task in plan.tasks],
                "problems": {task.name: {"n": len(task.problems), "digest": task.digest} for task in plan.tasks},
                **deciding(plan), "at": sorted(plan.at),
            },
            "engine": engine.describe(), "satisfice": satisfice.__version__,
            "profile": {k: v for k, v in vars(profile).items() if k in type(profile).__dataclass_fields__},
            "temperature": self.temperature, "top_p": self.top_p, "max_length": engine.max_length,
            "end_ids": sorted(engine.end_ids), "columns": self.columns,
            "hidden": {"layers": list(plan.hidden), "width": width, "first": plan.hidden_first},
            "asks": [vars(ask) for ask in self.asks], "encodings": encodings,
            "pieces": self._pieces([*engine.end_ids, *(i for ids in encodings.values() for i in ids)]),
        }  # fmt: skip
        return clean(header), width

    def problem(self, task: Task, problem: Problem) -> dict[str, Any]:
        """Return a row of `problems.jsonl`."""
        sequence = self.engine.open(problem.question, problem.id)
        prompt = list(sequence.ids)
        sequence.close()
        return {
            "task": task.name, "id": problem.id, "question": problem.question, "answer": problem.answer,
            "metadata": clean(problem.metadata), "prompt": prompt, "pieces": self._pieces(prompt[-1:]),
        }  # fmt: skip

    async def take(self, job: RecordJob, judge: Judging) -> Taken:
        """Record one chain: let it run to its natural end in a session, then ask copies of it."""
        parts: list[Sampled] = []
        session = Session(
            self.engine, job.problem, seed=job.seed, chain_limit=self.chain_limit, temperature=self.temperature,
            top_p=self.top_p,
        )  # fmt: skip
        async with session:
            *_, chain = [session.chain() for _ in range(int(job.chain) + 1)]  # chains are told apart by their number
            chain.tap(replace(self.signals, hidden=self.plan.hidden), parts.append)
            while await chain.think():
                pass
            if chain.ended == "model":  # one that a limit ended is asked for its answer like every copy
                await chain.finish()
            return await self._take(job, judge, session.chain().sequence, chain, parts)

    async def _take(
        self, job: RecordJob, judge: Judging, base: EngineSequence, chain: Chain, parts: list[Sampled]
    ) -> Taken:
        """Ask copies of a chain that has ended; `base` is the question alone, `parts` what the chain sampled."""
        key, runs = random_key(job.seed, job.problem.id, job.chain), _Runs()
        trunk, prompt, thinking, ended = chain.sequence, chain.prompt_length, chain.thought, chain.ended
        ids = trunk.ids[prompt:]
        self._keep(runs, ids, parts)
        text = self.engine.decode(ids[:thinking])
        if b"".join(map(self.engine.piece, ids)).decode("utf-8", "replace") != self.engine.decode(ids):
            raise EngineError(
                "the text of this model's tokens depends on their neighbours, which a recording cannot hold"
            )
        visible = self._text(ids[thinking:]).partition(self.profile.think_close)[2]
        self._read(runs, visible)
        stated = self.profile.stated.finditer(text) if self.profile.stated is not None else ()
        runs.answers |= dict.fromkeys(found[1] for found in stated)
        close = len(parts[0].ids) - thinking if ended == "model" else 0
        points, rows = self._places(ids[:thinking], ended, close), []
        for place in points:
            counts: list[int | None] = [None] * len(self.asks)
            asked = [i for i, ask in enumerate(self.asks) if _fits(ask, place)]
            told = {i: self._told(self.asks[i], place, ids, runs) for i in asked}
            for some in (asked[i : i + FORKS] for i in range(0, len(asked), FORKS)):
                replies = await asyncio.gather(
                    *(self._reply(base, trunk, place, self.asks[i], told[i], key, prompt) for i in some)
                )
                for i, said in zip(some, replies, strict=True):
                    counts[i] = len(said.ids)
                    self._keep(runs, said.ids, [said])
                    if self.asks[i].cue and said.ids:
                        runs.looks.append(said.hidden)
                    elif self.asks[i].text:
                        self._read(runs, self._text(said.ids), trial=self.asks[i].greedy)
            rows.append({"at": place.at, "why": "+".join(place.why), "replies": counts})
            if place.cue:
                rows[-1] |= {"cue": place.cue, "width": place.width}
        states = self._states(parts, [place.at for place in points], runs)
        verdicts = {answer: (await judge.verdict(job.problem, answer)).value for answer in runs.answers}
        row = {
            "task": job.task.name, "problem": job.problem.id, "seed": job.seed, "chain": job.chain, "ended": ended,
            "thinking": thinking, "tokens": len(ids), "checkpoints": rows, "verdicts": verdicts,
        }  # fmt: skip
        pieces = {i: self.engine.piece(i) for i in runs.ids}
        return Taken(
            row=row, tokens=np.concatenate(runs.records), states=states, pieces=pieces, encodings=runs.encodings
        )

    def _places(self, thinking: list[int], ended: str, close: int) -> list[Place]:
        profile, at = self.profile, self.plan.at
        return places(
            thinking, self.engine.decode, cues=profile.cues if "cue" in at else (),
            step=profile.step if "step" in at else "", every=self.plan.every, limit=ended == "limit", close=close,
        )  # fmt: skip

    def _told(self, ask: Ask, place: Place, ids: list[int], runs: _Runs) -> list[int]:
        """Return the tokens that are put into a copy: where it looks at the cue, those of the cue's text come first."""
        if not ask.cue:
            return list(ask.ids)
        text = self.engine.decode(ids[place.at : place.at + place.width])
        return [*self._encode(runs, text), *ask.ids]

    def _encode(self, runs: _Runs, text: str) -> list[int]:
        """Return the tokens of a text, which are kept too."""
        ids = runs.encodings[text] = self.engine.encode(text)
        runs.ids.update(ids)
        return ids

    async def _reply(
        self, base: EngineSequence, trunk: EngineSequence, place: Place, ask: Ask, told: list[int], key: int,
        prompt: int,
    ) -> Sampled:  # fmt: skip
        """Ask a copy of the chain something.

        What the copy has yet to read when it is told is what a chain would have that stopped here by itself: before a
        cue nothing, else its newest token. In the last bit that can matter.
        """
        end = prompt + place.at
        unread = [] if place.cue or not place.at else [trunk.ids[end - 1]]
        copy = (trunk if place.at or place.cue else base).fork(end - len(unread))
        copy.extend([*unread, *told])
        room = min(self.chain_limit - place.at, self.engine.max_length - len(copy.ids))
        limit = min(self.plan.trial_tokens if ask.text else 1, room) if ask.greedy else room
        if limit <= 0:
            copy.close()
            return Sampled(ids=(), reason="length", cut=len(copy.ids))
        try:
            return await copy.sample(
                Request(
                    limit=limit, stop_ids=self.engine.end_ids, key=key,
                    signals=replace(self.signals, hidden=self.plan.hidden if ask.cue else ()),
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
        runs.ids.update(ids)

    def _read(self, runs: _Runs, text: str, *, trial: bool = False) -> None:
        """Note every answer that some rule or verdict could read from a text, or write down for the chain."""
        form = self.profile.answer_form
        read = [extract_strict(text, form), extract_flexible(text)]
        if trial:
            ends = [at for end in self.profile.answer_end if (at := text.find(end)) >= 0]
            said = dict.fromkeys(read_trial(part) for part in (text, text[: min(ends, default=None)]))
            read += said
            for answer in filter(None, said):
                self._encode(runs, f"\\boxed{{{answer}}}" if form == "boxed" else answer)
        runs.answers |= dict.fromkeys(answer for answer in read if answer is not None)

    def _states(self, parts: list[Sampled], points: list[int], runs: _Runs) -> NDArray[np.float32]:
        """The states to keep, `[state, layer, width]`: those that predict the tokens at `points`, then the looks."""
        layers = self.plan.hidden
        if not layers or not parts:
            return np.zeros((0, 0, 0), dtype=np.float32)
        own = np.stack([np.concatenate([part.hidden[layer] for part in parts]) for layer in layers], axis=1)
        kept = sorted({*range(min(self.plan.hidden_first, len(own))), *(at for at in points if at < len(own))})
        looks = [np.stack([look[layer][0] for layer in layers]) for look in runs.looks]
        return np.concatenate([own[kept], np.array(looks, dtype=np.float32).reshape(-1, *own.shape[1:])])

    def _pieces(self, ids: Iterable[int]) -> dict[int, str]:
        return {i: self.engine.piece(i).hex() for i in sorted(set(ids))}

    def _ask(self, name: str, text: str, *, greedy: bool, cue: bool = False) -> Ask:
        return Ask(name=name, text=text, ids=tuple(self.engine.encode(text)) if text else (), greedy=greedy, cue=cue)

    def _text(self, ids: Sequence[int]) -> str:
        return self.engine.decode([i for i in ids if i not in self.engine.end_ids])


def _fits(ask: Ask, place: Place) -> bool:
    """Return whether something is asked here."""
    return place.at == 0 if ask.name == "skip" else bool(place.cue) or not ask.cue


def _texts(profile: Profile, asks: Sequence[str]) -> Iterator[tuple[str, str, bool]]:
    """The texts that were asked for: name, text, and whether the reply is greedy.

    Plain texts go under themselves, and so do the words of a rule (`deer-pro.inducers`). A word whose name begins with
    `close_` ends thinking, so what follows is sampled as the chain itself would. A word may say that nothing is put in;
    what the model would say next goes under `next`.
    """
    seen = {(profile.induce_answer, True), (profile.close_thinking, False)}
    for ask in asks:
        rule, _, word = ask.partition(".")
        value = rule_word(profile, rule, word) if rule in METHODS and word else ask
        texts, greedy = [value] if isinstance(value, str) else list(value), not (value != ask and is_closing(word))
        if not ask or not texts:
            raise BadInput(f"ask: {ask!r} is no text, and no word of a rule such as `deer-pro.inducers`.")
        if not greedy:
            texts.append(texts[0].removeprefix("\n"))  # as it is put in at the beginning of a line
        for text in texts:
            if (text, greedy) not in seen:
                seen.add((text, greedy))
                yield (text or "next") if greedy else f"close {text!r}", text, greedy
