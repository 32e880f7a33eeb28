"""One request: its policy runs in a session, and what nobody can take back is shown as it comes."""

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from satisfice.answers import extract_strict, same
from satisfice.core.chain import Chain
from satisfice.core.commit import committed_by_all
from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput, SatisficeError
from satisfice.core.ledger import Ledger
from satisfice.core.problem import Problem
from satisfice.core.race import settle_tasks
from satisfice.core.session import Event, Session
from satisfice.gateway.plan import Plan
from satisfice.gateway.settings import Limits
from satisfice.gateway.shown import Piece, Shown

Show = Callable[[list[Piece]], Awaitable[None]]


class OutOfTime(SatisficeError):
    """The time of a request was over before there was anything that could become an answer."""


class TakenBack(SatisficeError):
    """A policy returned a chain that does not begin with what was shown."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What the model is asked: the text that it reads, and what policies take for the question."""

    text: str
    question: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a request."""

    finish: Literal["stop", "length"]
    stopped: str  # what ended the thinking: model, rule, limit, turn, time
    ledger: Ledger
    prompt_tokens: int
    reasoning_tokens: int  # of what was sampled, all that is not in the answer that is shown
    chains: int  # started or forked to be returned
    looks: int  # times that the rule looked


class Run:
    """A plan that is carried out over an engine. `ledger` holds what it spent, however it ended."""

    def __init__(self, plan: Plan, engine: Engine, prompt: Prompt, limits: Limits) -> None:
        self.plan, self.limits, self.prompt = plan, limits, prompt
        self.ledger = Ledger()
        self.shown = Shown(engine, thinks=plan.thinks, raw=plan.raw, stop=plan.stop)
        self.seen = False  # whether a client has been given anything
        self._news = _News()
        self._roots = 0  # chains that were started
        self._session = Session(
            engine, Problem(id=_mark(prompt.text), task="gateway", question=prompt.question, answer=""),
            prompt=prompt.text, seed=plan.seed, chain_limit=plan.chain_limit, budget=limits.spend,
            temperature=plan.temperature, top_p=plan.top_p, sampler=plan.sampler, same=same,
            parse=lambda text: extract_strict(text, engine.profile.answer_form),
            on_tokens=self._news.set, observer=self._observe,
        )  # fmt: skip
        self._session.reserve = plan.reserve

    async def go(self, show: Show) -> Outcome:
        """Run the policy to its end. `show` is awaited with what is new to read; while it waits the policy goes on.

        Raises:
            EngineError: the engine gave up.
            BadInput: the prompt or the policy asks for more than there is.
            OutOfTime, TakenBack: see there.
        """
        chain: Chain | None = None
        try:
            async with self._session as session:
                chain, stopped = await self._decide(session, show)
                rest = chain.after_prompt()
                if self.plan.live and rest[: self.shown.count] != self._sent:
                    raise TakenBack(f"{self.plan.name} returned another chain than the one that was shown.")
                await self._give(show, [*self.shown.take(rest[self.shown.count :]), *self.shown.end()])
        finally:
            self.ledger = self._session.close_ledger(chain)
        return self._outcome(chain, stopped)

    async def _decide(self, session: Session, show: Show) -> tuple[Chain, str]:
        """The chain that counts and, where it was not the policy that decided, what did."""
        work = session.start(self.plan.policy(session))
        live, why, clock = self.plan.live, "", asyncio.get_running_loop()
        over = clock.time() + self.limits.seconds
        alarm = clock.call_at(over, self._news.set)
        self._sent: list[int] = []
        try:
            while True:
                work.add_done_callback(lambda _: self._news.set())
                while not work.done() and clock.time() < over:
                    await self._news.wait(clock)
                    if live:
                        new = committed_by_all(session.chains, self.shown.count)
                        self._sent += new
                        await self._give(show, self.shown.take(new))
                        if self.shown.stopped:
                            await settle_tasks([work])
                            return self._lead(session), "stop"
                if work.done():
                    return work.result(), why
                await settle_tasks([work])
                lead = self._lead(session)
                if why:  # the time for the answer is over too: what there is of it is the answer
                    return lead, why
                work, why, over = session.start(lead.close_thinking()), "time", over + self.limits.answer_seconds
                alarm = clock.call_at(over, self._news.set)
        finally:
            alarm.cancel()

    def _lead(self, session: Session) -> Chain:
        """The chain that is furthest on."""
        alive = [chain for chain in session.chains if not chain.closed and not chain.looks]
        if not alive:
            raise OutOfTime(f"{self.plan.name} had no chain when the {self.limits.seconds:g} s of a request were over.")
        return max(alive, key=lambda chain: (chain.phase != "think", len(chain)))

    async def _give(self, show: Show, pieces: list[Piece]) -> None:
        if pieces:
            self.seen = True
            await show(pieces)

    def _observe(self, event: Event) -> None:
        self._news.set()
        self._roots += event.kind == "chain"
        if self._roots > self.limits.chains:
            raise BadInput(f"{self.plan.name} starts more than {self.limits.chains} chains. Lower its n.")

    def _outcome(self, chain: Chain, why: str) -> Outcome:
        spans = chain.spans
        begin = chain.prompt_length + (self.shown.answer_from if self.shown.answer_from is not None else len(chain))
        ends = itertools.accumulate(len(span.ids) for span in spans)
        answer = sum(
            max(0, end - max(begin, end - len(span.ids)))
            for span, end in zip(spans, ends, strict=True)
            if span.kind == "sampled"
        )
        return Outcome(
            finish="length" if self._is_cut(chain) else "stop",
            stopped=chain.ended if why in ("", "stop") else why,
            ledger=self.ledger,
            prompt_tokens=chain.prompt_length,
            reasoning_tokens=self.ledger.spent - answer,
            chains=sum(1 for other in self._session.chains if not other.looks),
            looks=sum(1 for event in self._session.log if event.kind == "look"),
        )

    def _is_cut(self, chain: Chain) -> bool:
        """Whether a limit and not the model ended the answer."""
        if self.shown.stopped or (self.plan.thinks and chain.phase != "done"):
            return not self.shown.stopped
        ran_out = chain.last is not None and chain.last.reason in ("budget", "length")
        return ran_out and (chain.spans[-1].kind == "sampled" or not chain.answer_text)


class _News:
    """Word that something has happened, for the one who waits: an `asyncio.Event` in less time, as it comes a token."""

    def __init__(self) -> None:
        self._there = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Something has happened."""
        self._there = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Until something has happened since the last time. The loop is given: to ask for it takes a system call."""
        if not self._there:
            self._waiter = loop.create_future()
            await self._waiter
        self._there = False


def _mark(text: str) -> str:
    """The same for the same prompt, so that one seed gives one answer."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
