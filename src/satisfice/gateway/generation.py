"""One choice of a request: its policy runs in a session, and what nobody can take back is shown as it comes."""

import asyncio
import hashlib
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from satisfice.answers import extract_strict, same
from satisfice.core.chain import Chain
from satisfice.core.commit import committed_by_all
from satisfice.core.engine import Engine
from satisfice.core.errors import BadInput
from satisfice.core.ledger import Ledger
from satisfice.core.problem import Problem
from satisfice.core.race import settle_tasks
from satisfice.core.session import Event, Session
from satisfice.gateway.failures import OutOfTime, TakenBack
from satisfice.gateway.parameters import Parameters
from satisfice.gateway.prompts import Prompt
from satisfice.gateway.reasoning import Delta, ReasoningParser, content_of, loops
from satisfice.gateway.settings import Limits
from satisfice.measure.drift import first_look

Show = Callable[[list[Delta]], Awaitable[None]]
LOOK_EVERY = 200  # characters of an answer between two looks for a loop


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one choice."""

    finish: str  # stop, length; whatever the server says where it wrote the answer
    stopped: str  # what ended the thinking: model, rule, limit, turn, time
    ledger: Ledger
    prompt_tokens: int
    reasoning_tokens: int  # of what was sampled, all that is not in the answer that is shown
    chains: int  # started or forked to be returned
    looks: int  # times that the rule looked
    prompt: int = 0  # number of the prompt that it answers
    answer_spent: int = 0  # tokens that the server's own route sampled for the answer
    stop_text: str = ""  # of the request's stop texts, the one that ended the answer

    @property
    def spent(self) -> int:
        """Tokens sampled for it, in all."""
        return self.ledger.spent + self.answer_spent


class Generation:
    """One choice on its way over an engine. `ledger` holds what it spent, however it ended."""

    def __init__(self, parameters: Parameters, engine: Engine, prompt: Prompt, limits: Limits) -> None:
        self.parameters, self.limits, self.prompt = parameters, limits, prompt
        self.ledger = Ledger()
        self.parser = ReasoningParser(engine, thinks=parameters.thinks, raw=parameters.raw, stop=parameters.stop)
        self.text, self.length = "", 0  # of the chain that counts, after its prompt; tokens
        self.looped = False  # the answer repeated itself without end
        self._answer, self._looked = "", 0
        self._wakeup = _Wakeup()
        self._roots = 0  # chains that were started
        self._session = Session(
            engine, Problem(id=_digest(prompt.text), task="gateway", question=prompt.question, answer=""),
            prompt=list(prompt.ids) or prompt.text, seed=parameters.seed, chain_limit=parameters.chain_limit,
            budget=limits.spend,
            temperature=parameters.temperature, top_p=parameters.top_p, sampler=parameters.sampler,
            bias=parameters.bias, options=parameters.options, stop_ids=parameters.stop_ids,
            answers=parameters.answers, same=same,
            parse=lambda text: extract_strict(text, engine.profile.answer_form),
            on_tokens=self._wakeup.set, observer=self._observe,
        )  # fmt: skip

    @property
    def first_look(self) -> tuple[float, float]:
        """After how many tokens its policy looked first, and what it saw; NaN where it never looked."""
        return first_look(self._session.log)

    async def go(self, show: Show) -> Outcome:
        """Run the policy to its end. `show` is awaited with what is new to read; while it waits the policy goes on.

        A chain that ends its turn without an answer is made to write one where there is room for it.

        Raises:
            EngineError: the engine gave up.
            BadInput: the prompt or the policy asks for more than there is.
            OutOfTime, TakenBack: see there.
        """
        chain: Chain | None = None
        try:
            async with self._session as session:
                session.reserve = self.parameters.reserve(session.room, session.engine.profile.answer_tokens)
                chain, stopped = await self._decide(session, show)
                rest = chain.after_prompt()
                if self.parameters.live and rest[: self.parser.count] != self._sent:
                    raise TakenBack(f"{self.parameters.name} returned another chain than the one that was shown.")
                await self._give(show, [*self.parser.take(rest[self.parser.count :]), *self.parser.end()])
                self.text, self.length = "" if self.parameters.answers else chain.text, len(chain)
        finally:
            self.ledger = self._session.close_ledger(chain)
        return self._outcome(chain, stopped)

    async def _decide(self, session: Session, show: Show) -> tuple[Chain, str]:
        """Return the chain that counts and, where it was not the policy that decided, what did."""
        work = session.start(self.parameters.policy(session))
        live, why, clock, made_to_answer = self.parameters.live, "", asyncio.get_running_loop(), False
        over = clock.time() + self.limits.seconds
        alarm = clock.call_at(over, self._wakeup.set)
        self._sent: list[int] = []
        try:
            while True:
                work.add_done_callback(lambda _: self._wakeup.set())
                while not work.done() and clock.time() < over:
                    await self._wakeup.wait(clock)
                    if live and not work.done():
                        new = committed_by_all(session.chains, self.parser.count)
                        self._sent += new
                        await self._give(show, self.parser.take(new))
                        if self.parser.stopped or self.looped:
                            await settle_tasks([work])
                            return self._lead(session), "stop"
                if work.done():
                    chain = work.result()
                    if made_to_answer or why or not self._lacks_answer(chain):
                        return chain, why
                    made_to_answer, work = True, session.start(chain.answer_anyway())
                    continue
                await settle_tasks([work])
                lead = self._lead(session)
                if why or self.parameters.whole:  # no time for an answer, or no way to it: what there is counts
                    return lead, why or "time"
                work, why, over = session.start(lead.close_thinking()), "time", over + self.limits.answer_seconds
                alarm = clock.call_at(over, self._wakeup.set)
        finally:
            alarm.cancel()

    def _lead(self, session: Session) -> Chain:
        """Return the chain that is furthest on."""
        alive = [chain for chain in session.chains if not chain.closed and not chain.looks]
        if not alive:
            raise OutOfTime(
                f"{self.parameters.name} had no chain when the {self.limits.seconds:g} s of a request were over."
            )
        return max(alive, key=lambda chain: (chain.phase != "think", len(chain)))

    def _lacks_answer(self, chain: Chain) -> bool:
        """Whether a chain ended its turn without anything for a client to read, and can still be made to answer."""
        parameters = self.parameters
        can = parameters.thinks and parameters.answers and not parameters.whole and not parameters.raw
        if not can or chain.phase != "done":
            return False
        tokens = chain.after_prompt()
        if self.parser.count >= len(tokens) or not tokens or tokens[-1] not in self._session.end_ids:
            return False  # the end of the turn was shown, or a limit ended the chain
        parser = ReasoningParser(self._session.engine, stop=self.parameters.stop)
        return not content_of([*parser.take(tokens), *parser.end()]).strip() and not parser.stopped

    async def _give(self, show: Show, deltas: list[Delta]) -> None:
        if not deltas:
            return
        if (least := self.limits.answer_loop) is not None and (new := content_of(deltas)):
            self._answer = (self._answer + new)[-least - LOOK_EVERY :]
            self._looked += len(new)
            if self._looked >= LOOK_EVERY:
                self._looked = 0
                self.looped = self.looped or loops(self._answer, least)
        await show(deltas)

    def _observe(self, event: Event) -> None:
        self._wakeup.set()
        self._roots += event.kind == "chain"
        if self._roots > self.limits.chains:
            raise BadInput(f"{self.parameters.name} starts more than {self.limits.chains} chains. Lower its n.")

    def _outcome(self, chain: Chain, why: str) -> Outcome:
        spans = chain.spans
        begin = chain.prompt_length + (self.parser.answer_from if self.parser.answer_from is not None else len(chain))
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
            stop_text=self.parser.stop_text,
        )

    def _is_cut(self, chain: Chain) -> bool:
        """Return whether a limit and not the model ended the answer."""
        if self.looped:
            return True
        if not self.parameters.answers:
            return False
        if self.parser.stopped or (self.parameters.thinks and chain.phase != "done"):
            return not self.parser.stopped
        ran_out = chain.last is not None and chain.last.reason in ("budget", "length")
        return ran_out and (chain.spans[-1].kind == "sampled" or not chain.answer_text)


class _Wakeup:
    """Wakes the one who waits for something to happen: an `asyncio.Event` in less time, as it comes with each token."""

    def __init__(self) -> None:
        self._there = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Wake whoever waits, or whoever waits next."""
        self._there = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the next `set` since the last time. The loop is given: to ask for it takes a system call."""
        if not self._there:
            self._waiter = loop.create_future()
            await self._waiter
        self._there = False


def _digest(text: str) -> str:
    """Return a short digest of a prompt, so that the same prompt and seed give the same answer."""
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
