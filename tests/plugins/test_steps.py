"""Rules inside a sampler: on the pocket model beside the local engine, and through any schedule of a server."""

import asyncio
import os
import random
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from satisfice.catalog import build
from satisfice.core.errors import BadInput, Unfit
from satisfice.engines.local.engine import LocalEngine
from satisfice.methods.stopping.deer import Deer
from satisfice.models.resolve import model_folder
from satisfice.plugins.fitted import BARE, CUE, ModelWords, fit
from satisfice.plugins.steps import CLOSING, OVER, THINKING, WAITING, Asker, Steps
from satisfice.plugins.transformers import Stop

RULES = (
    "fixed-budget:9", "fixed-budget(tokens=9, at=step)", "fixed-budget(tokens=9, at=cue)",
    "fixed-budget(tokens=12, landing=6, push=3)", "first-cue", "first-cue(every=2)", "eot-temperature(min_tokens=3)",
    "eot-temperature(mode=raw-scale)", "no-wait", "loop-guard(times=2, longest=4, least=4, every=2)",
    "deepconf-line(window=3, below=7.5)", "entropy-settled(window=3, below=4.5)", "end-mass:0.3",
)  # fmt: skip


@cache
def words() -> ModelWords:
    return ModelWords(model_folder("pocket"), 1024)


def test_what_tokens_may_mean() -> None:
    flags = words().flags
    said = {words().decode([int(token)]) for token in np.flatnonzero(flags & (CUE | BARE))}
    assert said == {"Check", "Wait", "Hmm"}
    assert words().closing == (words().close_id,)
    assert words().begins(words().encode("<think>"))
    assert not words().begins(words().encode("<think>so</think>"))
    assert not words().begins(words().encode("1 + 1"))


def test_a_rule_that_finds_nothing_to_look_for_is_refused() -> None:
    from dataclasses import replace

    strange = ModelWords(model_folder("pocket"), 1024, replace(words().profile, cues=("Upon reflection",)))
    with pytest.raises(Unfit, match=r"none of pocket's cues \(Upon reflection\) is a single token of this model"):
        fit(build("first-cue"), strange)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="deer needs more than a sampler sees"):
        Stop(Deer(), words(), temperature=0.0)


# A server that makes up scores, and what a request of its own would have become


def scores_after(ids: tuple[int, ...]) -> torch.Tensor:
    """Made-up scores `[vocab]` that depend on the tokens so far: a few words are likely, and sometimes the end."""
    rng = np.random.default_rng(abs(hash(ids)) % 2**63)
    likely = [*words().encode("1 2 + = so"), *words().cues, *words().bare, *words().encode("\n"), words().close_id]
    scores = rng.normal(size=words().size).astype(np.float32)
    scores[likely] += rng.normal(size=len(likely)).astype(np.float32) * 2 + 4
    scores[words().close_id] -= 2
    return torch.from_numpy(scores)


def alone(spec: str, prompt: tuple[int, ...], length: int) -> list[int]:
    """What a request becomes that nothing ever happens to: greedy, alone, one row, in a fresh sampler."""
    steps, output = Steps(words()), list[int]()
    if spec:
        steps.add(0, Asker(fitted=fit(build(spec), words()), output=output, key=1, prompt=prompt, temperature=0.0))  # type: ignore[arg-type]
    while len(output) < length:
        output.append(int(steps.apply(scores_after((*prompt, *output))[None].clone()).argmax()))
    return output


@dataclass
class Served:
    spec: str
    prompt: tuple[int, ...]
    length: int
    output: list[int] = field(default_factory=list)
    placeholder: bool = False


class Server:
    """Rows of a batch that are filled, emptied and moved as vLLM's persistent batch does it."""

    def __init__(self, rng: random.Random, rows: int) -> None:
        from satisfice.plugins.vllm_requests import Departed

        self.rng, self.steps, self.departed = rng, Steps(words()), Departed()
        self.rows: list[Served | None] = [None] * rows
        self.preempted: list[Served] = []
        self.done: list[Served] = []

    def add(self, row: int, one: Served) -> None:
        self.departed.put(self.steps.remove(row))
        self.rows[row] = one
        if one.spec:
            rule: Any = build(one.spec)
            asker = Asker(fitted=fit(rule, words()), output=one.output, key=1, prompt=one.prompt, temperature=0.0)
            self.steps.add(row, asker, self.departed.take(asker))

    def leave(self, row: int) -> Served:
        one = self.rows[row]
        assert one is not None
        self.rows[row] = None
        self.departed.put(self.steps.remove(row))
        return one

    def step(self) -> None:
        """One decode step: some rows are in the midst of reading their prompt, whose token is thrown away."""
        parts = [
            torch.zeros(words().size) if one is None else scores_after((*one.prompt, *one.output)) for one in self.rows
        ]
        reading = [self.rng.random() < 0.1 for _ in self.rows]
        logits = torch.stack([torch.randn(words().size) if r else p for r, p in zip(reading, parts, strict=True)])
        new = self.steps.apply(logits).argmax(-1).tolist()
        for row, one in enumerate(self.rows):
            if one is not None and not reading[row]:
                one.output.append(new[row])
                if len(one.output) == one.length:
                    self.done.append(self.leave(row))

    def happen(self, requests: list[Served]) -> None:
        """Something happens between two steps."""
        taken = [row for row, one in enumerate(self.rows) if one is not None]
        free = [row for row, one in enumerate(self.rows) if one is None]
        kind = self.rng.choice(["add", "add", "add", "preempt", "abort", "swap", "move", "resume", "mend"])
        if kind == "add" and requests and free:
            self.add(self.rng.choice(free), requests.pop())
        elif kind == "resume" and self.preempted and free:
            one = self.preempted.pop(self.rng.randrange(len(self.preempted)))
            one.output = list(one.output)  # a new list, as with asynchronous scheduling
            self.add(self.rng.choice(free), one)
        elif kind == "preempt" and taken:
            self.preempted.append(self.leave(self.rng.choice(taken)))
        elif kind == "abort" and taken:
            self.leave(self.rng.choice(taken))
        elif kind in ("swap", "move") and taken:
            source, target = self.rng.choice(taken), self.rng.randrange(len(self.rows))
            if source != target and (kind == "swap" or self.rows[target] is None):
                self.steps.move(source, target, swap=kind == "swap")
                here, there = self.rows[source], self.rows[target]
                self.rows[target], self.rows[source] = here, there


def schedule(seed: int) -> int:
    """Run one random schedule and hold each finished request against itself alone; how many were held."""
    rng = random.Random(seed)
    torch.manual_seed(seed)
    prompts = [tuple(words().encode(text)) for text in ("1 + 2<think>", "3 - 4<think>", "5<think>6</think>", "7")]
    requests = [
        Served(rng.choice(("", *RULES)), rng.choice(prompts), rng.randrange(1, 24)) for _ in range(rng.randrange(1, 9))
    ]
    server = Server(rng, rows=rng.randrange(1, 5))
    for _ in range(60):
        for _ in range(rng.randrange(3)):
            server.happen(requests)
        server.step()
    for one in server.done:
        assert one.output == expected(one.spec, one.prompt)[: one.length], (seed, one.spec)
    left = {row for row, one in enumerate(server.rows) if one is not None and one.spec}
    assert set(server.steps.askers) == left, "nothing of a request that has gone is left"
    return len(server.done)


@cache
def expected(spec: str, prompt: tuple[int, ...]) -> list[int]:
    return alone(spec, prompt, 24)


def test_a_request_is_served_alike_whatever_happens_to_it_and_its_neighbours() -> None:
    n = int(os.environ.get("SCHEDULES", "30"))  # 10,000 take half an hour
    assert sum(schedule(seed) for seed in range(n)) > n


def test_closing_words_come_one_by_one_and_what_the_server_puts_there_instead_is_left_alone() -> None:
    from dataclasses import replace

    many = ModelWords(model_folder("pocket"), 1024, replace(words().profile, close_thinking="so 12</think>"))
    steps, output = Steps(many), list[int]()
    steps.add(0, Asker(fitted=fit(build("cap:2"), many), output=output, key=1, prompt=many.encode("<think>")))  # type: ignore[arg-type]
    while len(output) < 2 + len(many.closing):
        output.append(int(steps.apply(torch.randn(1, 1024)).argmax()))
    assert tuple(output[2:]) == many.closing
    assert len(many.closing) > 2
    plain = torch.randn(1, 1024)
    assert torch.equal(steps.apply(plain.clone()), plain), "after that the answer is the model's own"

    steps, output = Steps(many), list[int]()
    steps.add(0, Asker(fitted=fit(build("cap:0"), many), output=output, key=1, prompt=many.encode("<think>")))  # type: ignore[arg-type]
    for word in (many.closing[0], 9):
        assert int(steps.apply(torch.randn(1, 1024)).argmax()) == many.closing[len(output)]
        output.append(word)  # a grammar, say, wants the second to be another
    assert torch.equal(steps.apply(plain.clone()), plain)


def test_a_token_that_a_grammar_forbids_stays_forbidden() -> None:
    steps = Steps(words())
    steps.add(0, Asker(fitted=fit(build("cap:0"), words()), output=[], key=1, prompt=words().encode("<think>")))  # type: ignore[arg-type]
    logits = torch.zeros(1, 1024)
    logits[0, words().close_id] = -torch.inf
    assert int(steps.apply(logits).argmax()) != words().close_id


def test_tokens_that_are_not_known_yet_are_waited_for() -> None:
    steps, output = Steps(words()), [300, -1]
    steps.add(0, Asker(fitted=fit(build("cap:2"), words()), output=output, key=1, prompt=words().encode("<think>")))  # type: ignore[arg-type]
    assert int(steps.apply(torch.zeros(1, 1024)).argmax()) == 0
    output[1] = 301
    assert int(steps.apply(torch.zeros(1, 1024)).argmax()) == words().close_id


def test_thinking_that_the_model_opens_itself_counts_from_there() -> None:
    steps, output = Steps(words()), list[int]()
    steps.add(0, Asker(fitted=fit(build("cap:1"), words()), output=output, key=1, prompt=words().encode("1")))  # type: ignore[arg-type]
    for token, phase in ((300, WAITING), (words().encode("<think>")[0], THINKING), (301, THINKING)):
        steps.apply(torch.zeros(1, 1024))
        output.append(token)
        steps.apply(logits := torch.zeros(1, 1024))
        assert steps._phase[0] == phase
    assert int(logits.argmax()) == words().close_id
    output.append(int(words().close_id or 0))
    steps.apply(torch.zeros(1, 1024))
    assert steps._phase[0] in (CLOSING, OVER)


def test_a_cue_is_decided_with_the_chance_that_it_would_be_drawn() -> None:
    """A fifth of the mass is on a cue: in a fifth of the chains the thinking closes there, and the cue never comes."""
    cue, other = int(words().bare[0]), 300
    fitted, closed = fit(build("first-cue"), words()), 0  # type: ignore[arg-type]
    for heat, top_p, top_k, chance in (
        (1.0, 1.0, 0, 0.2), (2.0, 1.0, 0, 1 / 3), (1.0, 0.7, 0, 0.0), (1.0, 0.95, 0, 0.2), (1.0, 1.0, 1, 0.0),
        (1.0, 1.0, 2, 0.2),
    ):  # fmt: skip
        n, steps = 2000, Steps(words())
        for row in range(n):
            prompt = words().encode("<think>")
            key = row * 7919 + 13
            asked = Asker(fitted=fitted, output=[], key=key, prompt=prompt, temperature=heat, top_p=top_p, top_k=top_k)
            steps.add(row, asked)
        logits = torch.full((n, 1024), -50.0)
        logits[:, cue], logits[:, other] = np.log(0.2), np.log(0.8)
        out = steps.apply(logits)
        closed = int((out.argmax(-1) == words().close_id).sum())
        assert closed / n == pytest.approx(chance, abs=4 * np.sqrt(max(chance * (1 - chance), 1e-9) / n))
        assert bool((out[:, cue] == -torch.inf)[out.argmax(-1) != words().close_id].all())


# Inside `generate`, on the real pocket model


def test_generate_of_transformers_ends_where_the_local_engine_does() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from satisfice.core.session import Session, solve
    from satisfice.tasks import load_task

    folder = model_folder("pocket")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).eval()
    problems = load_task("chain-sum:medium", limit=6).problems
    specs = ("first-cue", "fixed-budget(tokens=25, at=step)", "deepconf-line(window=16, below=none, above=13.8)")

    async def local() -> list[list[list[int]]]:
        async with LocalEngine("pocket", compiled=False) as engine:

            async def one(spec: str, problem: Any) -> list[int]:
                session = Session(engine, problem, temperature=0.0, chain_limit=160)
                solution = await solve(build(spec), session)
                return [i for span in solution.spans if span.kind != "prompt" for i in span.ids]

            return [await asyncio.gather(*(one(spec, problem) for problem in problems)) for spec in specs]

    wanted = asyncio.run(local())
    prompts = [ModelWords(folder, 1024)._words.render(p.question, words().profile) for p in problems]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    for spec, chains in zip(specs, wanted, strict=True):
        stop = Stop(build(spec), words(), temperature=0.0)
        with torch.inference_mode():
            made = model.generate(**inputs, do_sample=False, max_new_tokens=160, logits_processor=[stop])
        for chain, row in zip(chains, made[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            assert row[: len(chain)] == chain[: len(row)], spec
