"""One problem under one policy: its chains, its tasks, its budget, its log, its ledger."""

import asyncio
import contextvars
import copy
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.engine import Engine, Sampler, Sequence
from satisfice.core.errors import BadInput
from satisfice.core.ledger import Ledger
from satisfice.core.method import Kind
from satisfice.core.problem import Problem
from satisfice.core.race import Race, settle_tasks
from satisfice.core.span import Span

_LEASE = 16  # tokens; the least that a chain takes at once from a budget it shares with other chains


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened in a session: `at` is the chain's length in tokens after its prompt."""

    kind: str  # chain, pause, inject, fork, look, drop, end
    chain: str
    at: int
    data: Mapping[str, Any]


class Policy(Protocol):
    """A stop rule or a multi-chain policy: takes a session, returns the chain whose answer counts."""

    card: ClassVar[Card]

    async def __call__(self, session: "Session", /) -> Chain: ...


POLICY: Kind[Policy] = Kind(
    name="policy",
    protocol=Policy,
    example="full,cap:96,first-finish(n=8, stop=deer)",
    about="A policy is called with a session, `await policy(session)`, and returns the chain whose answer counts.",
    battery="satisfice.testing.policies:check_policy",
)


class Session:
    """What a policy sees of the world. Use it as an async context manager.

    Leaving it by any route (return, error, cancellation) cancels and awaits its tasks, frees its chains and closes the
    ledger.

    `chain_limit` bounds the tokens of one chain, `budget` everything the problem samples; of both, `reserve` tokens
    are kept for the answer. `sampler` filters what is sampled, in place of the profile's top-p; it has no say where a
    policy samples greedily. `bias` is added to the scores of these tokens wherever nothing is sampled greedily.
    `options` are sampling settings for a server (see `Request.options`). `prompt` is what the model reads in place of
    the question in its chat form. Tokens of `stop_ids` end the turn as the model's own do. Without `answers` a chain
    is done where its thinking ends: somebody else writes the answer. `parse` reads an answer from a text (None: there
    is none); `same` compares two answers. `observer` is told of each event, `on_tokens` that some chain has grown.
    """

    def __init__(
        self,
        engine: Engine,
        problem: Problem,
        *,
        prompt: str | list[int] | None = None,
        seed: int = 0,
        chain_limit: int | None = None,
        budget: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        sampler: Sampler | None = None,
        bias: Mapping[int, float] | None = None,
        options: Mapping[str, Any] | None = None,
        stop_ids: frozenset[int] = frozenset(),
        answers: bool = True,
        parse: Callable[[str], str | None] = lambda text: text.strip() or None,
        same: Callable[[str, str], bool] = lambda a, b: a == b,
        observer: Callable[[Event], None] | None = None,
        on_tokens: Callable[[], None] | None = None,
    ) -> None:
        for name, value in (("chain_limit", chain_limit), ("budget", budget)):
            if value is not None and value < 1:
                raise BadInput(f"Session: {name} must be at least 1 token, got {value}. Raise it or leave it out.")
        profile = engine.profile
        self.engine, self.problem, self.seed, self.prompt = engine, problem, seed, prompt
        self.chain_limit = profile.max_tokens if chain_limit is None else chain_limit
        self.budget = budget
        limits = [self.chain_limit, engine.max_length // 4, *([] if budget is None else [budget])]
        self.reserve = min(profile.answer_tokens, *limits)
        self.temperature = profile.temperature if temperature is None else temperature
        self.top_p = (profile.top_p if sampler is None else 1.0) if top_p is None else top_p
        self.sampler = sampler
        self.bias, self.options, self.answers = dict(bias or {}), options, answers
        self.end_ids = engine.end_ids | stop_ids
        self.parse, self.same = parse, same
        self.log: list[Event] = []
        self.ledger = Ledger()
        self._observer = observer
        self.on_tokens = on_tokens
        self._chains: list[Chain] = []
        self._counts = _Counts()
        self._begun: _Begun | None = None
        self._base: Sequence | None = None  # the question alone; opened on entering
        self._others: dict[str, Sequence] = {}  # other questions that a policy asks on the way
        self._tasks: set[asyncio.Task[Any]] = set()
        self._begin = time.monotonic()

    # For policies

    def chain(self, question: str | None = None) -> Chain:
        """Return a new chain: the question in place, thinking open. Chains are numbered in the order of these calls.

        `question` is asked in place of the problem's own; its prompt counts as injected, once for each such question.
        """
        if self._base is None:
            raise RuntimeError("a session makes chains inside `async with session` only")
        if question is None and self._begun is not None:
            return self._begun.chain()
        base, asked = self._base, 0
        if question is not None and question != self.problem.question:
            if question not in self._others:
                self._others[question] = self.engine.open(question, self.problem.id)
                asked = len(self._others[question].ids)
            base = self._others[question]
        prompt = Span(kind="prompt", ids=tuple(base.ids), by="")
        chain = Chain(self, str(self._counts.roots), base.fork(len(base.ids)), [prompt], looks=False)
        chain.injected = asked
        self._counts.roots += 1
        self.adopt(chain)
        self.note("chain", chain)
        return chain

    def continuing(self, chain: Chain, *, several: bool) -> "Session":
        """Return this session for a rule that continues a chain under way, instead of beginning one.

        A rule that asks for further chains gets copies from where this one stood; where it will (`several`), the place
        is kept, since the chain may have ended by then. All else, ledger and log too, is this session's.
        """
        view = copy.copy(self)
        view._begun = _Begun(chain, len(chain), chain.probe() if several else None)
        return view

    def start(
        self, work: Coroutine[Any, Any, Chain], *, context: contextvars.Context | None = None
    ) -> "asyncio.Task[Chain]":
        """Run a coroutine beside the others; it is cancelled and awaited when the session ends."""
        task = asyncio.create_task(work, context=context)
        self._tasks.add(task)
        return task

    def race(self, works: Iterable[Coroutine[Any, Any, Chain]]) -> Race[Chain]:
        """Run several coroutines at the same pace and get their chains as they end, by decode step, then by number."""
        return Race(self.start, works)

    @property
    def room(self) -> int:
        """Tokens that one chain may sample: what its limit, the budget and the model's context leave."""
        used = 0 if self._base is None else len(self._base.ids)
        budget = self.chain_limit if self.budget is None else self.budget
        return max(0, min(self.chain_limit, self.engine.max_length - used, budget))

    @property
    def chains(self) -> tuple[Chain, ...]:
        """Every chain so far, forks included, in the order in which they were made."""
        return tuple(self._chains)

    # For chains

    def adopt(self, chain: Chain) -> None:
        """Take responsibility for freeing a chain."""
        self._chains.append(chain)

    def note(self, kind: str, chain: Chain, **data: Any) -> None:
        """Write one line of the log."""
        event = Event(kind=kind, chain=chain.name, at=len(chain), data=data)
        self.log.append(event)
        if self._observer is not None:
            self._observer(event)

    def lease(self, chain: Chain, want: int | None) -> int:
        """Return how many tokens a chain may sample now; 0 when nothing is left for it.

        A budget is taken in parts of what is left, so that a chain that is made later finds some too. While a chain
        thinks, the reserve is out of its reach; a probe never reaches that of the budget.
        """
        reserve = self.reserve if chain.phase == "think" else 0
        on_path = sum(len(span.ids) for span in chain.spans if span.kind == "sampled")
        room = min(self.chain_limit - on_path, self.engine.max_length - len(chain.ids)) - reserve
        if self.budget is not None:
            left = self.budget - self._counts.leased - sum(c.sampled for c in self._chains)
            left -= self.reserve if chain.looks else reserve
            sharing = sum(1 for c in self._chains if not c.closed and not c.looks and c.phase != "done")
            room = min(room, max(left // (2 * max(1, sharing)), min(left, _LEASE)))
        grant = max(0, room if want is None else min(room, want))
        self._counts.leased += grant
        return grant

    def settle(self, grant: int) -> None:
        """End a lease: the chain has counted its tokens."""
        self._counts.leased -= grant

    # For whoever opened it

    def close_ledger(self, returned: Chain | None) -> Ledger:
        """Label every sampled token: on the returned chain, on a fork that only looked, or dropped."""
        kept_by: dict[str, int] = {}
        for span in returned.spans if returned is not None else ():
            if span.kind == "sampled":
                kept_by[span.by] = kept_by.get(span.by, 0) + len(span.ids)
        rest = {chain: chain.sampled - kept_by.get(chain.name, 0) for chain in self._chains}
        self.ledger = Ledger(
            kept=sum(kept_by.values()),
            probe=sum(n for chain, n in rest.items() if chain.looks),
            dropped=sum(n for chain, n in rest.items() if not chain.looks),
            injected=sum(chain.injected for chain in self._chains),
            prefilled=sum(chain.prefilled for chain in self._chains),
            steps=max((chain.clock for chain in self._chains), default=0),
            wall_s=time.monotonic() - self._begin,
        )
        return self.ledger

    async def __aenter__(self) -> Self:
        self._begin = time.monotonic()
        self._base = (
            self.engine.open(self.problem.question, self.problem.id)
            if self.prompt is None
            else self.engine.open_prompt(self.prompt, self.problem.id)
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await settle_tasks(self._tasks)
        finally:
            for chain in self._chains:
                chain.free()
            for base in (self._base, *self._others.values()):
                if base is not None:
                    base.close()


@dataclass(eq=False)
class _Counts:
    """What a session counts for all that share it."""

    roots: int = 0  # chains that were started
    leased: int = 0  # tokens that calls under way may sample


@dataclass(eq=False)
class _Begun:
    """A chain that a rule continues, and its length at that moment."""

    first: Chain
    length: int
    place: Chain | None
    taken: bool = False

    def chain(self) -> Chain:
        if not self.taken:
            self.taken = True
            return self.first
        return self.first.fork(back=len(self.first) - self.length) if self.place is None else self.place.fork()


@dataclass(frozen=True, kw_only=True)
class Solution:
    """What a policy made of a problem."""

    text: str  # the visible answer as written
    thinking: str
    ended: str  # how thinking ended: model, rule, limit, turn; "" when the policy failed
    spans: tuple[Span, ...]
    ledger: Ledger
    log: tuple[Event, ...]
    error: str = ""  # why the policy failed, if it did: the error's type and message
    error_type: str = ""  # the name of the error's class
    chain: str = ""  # name of the returned chain
    extra: Mapping[str, Any] = field(default_factory=dict)


async def solve(policy: Policy, session: Session) -> Solution:
    """Run one policy on one problem. An error of the policy is recorded with what it spent; cancellation goes on."""
    chain: Chain | None = None
    problem = problem_type = ""
    text = thinking = ended = name = ""
    spans: tuple[Span, ...] = ()
    try:
        async with session:
            try:
                chain = await policy(session)
                text, thinking, ended = chain.answer_text, chain.thinking, chain.ended
                spans, name = chain.spans, chain.name
            except Exception as error:  # noqa: BLE001 - any fault of a policy fails this problem, never the run
                chain, problem_type = None, type(error).__name__
                problem = f"{problem_type}: {error}"
    finally:
        session.close_ledger(chain)
    return Solution(
        text=text, thinking=thinking, ended=ended, spans=spans, ledger=session.ledger, log=tuple(session.log),
        error=problem, error_type=problem_type, chain=name,
    )  # fmt: skip
