"""One line of thinking: append-only spans of tokens, and the moves that a policy can make on it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from satisfice.core.chain_host import ChainHost
from satisfice.core.engine import Request, Sampled, Sampler, Sequence, Signals, Watch, both, joined, random_key
from satisfice.core.race import current_competitor
from satisfice.core.span import Ended, Phase, Span, closed_at, first_spans

_NO_SIGNALS = Signals()


class Chain:
    """A prompt and what follows it. Made by `Session.chain` and `Chain.fork`, never directly.

    A chain that paused at a cue stands *before* the cue: the tokens of the cue are held. Going on takes them back;
    anything else (inject, fork, close) works from before the cue, and then the held tokens count as dropped.
    """

    def __init__(self, session: ChainHost, name: str, sequence: Sequence, spans: list[Span], *, looks: bool) -> None:
        self.session = session
        self.name = name  # path of forks: "0", "0.2"
        self.looks = looks  # a probe: its tokens count as `probe` unless it is returned
        self.phase: Phase = "think"
        self.ended: Ended = ""
        self.clock = 0  # decode steps from the start of the problem to this chain's last token
        self.sampled = 0  # tokens this chain sampled itself, cut ones too
        self.prefilled = 0
        self.injected = 0
        self.last: Sampled | None = None  # what the latest call added, all its signals included
        self.asking: Request | None = None  # the call of the engine that is under way
        self.closed = False
        self._sequence = sequence
        self._spans = spans
        self._held = 0
        self._forks = 0
        self._parent: Chain | None = None
        self.prompt_length = sum(len(span.ids) for span in spans if span.kind == "prompt")
        self._answer_from: int | None = None
        self._thought: int | None = None  # tokens of thinking, once it is over
        self._key = random_key(session.seed, session.problem.id, name)
        self._tap: tuple[Signals, Callable[[Sampled], None]] | None = None

    def __len__(self) -> int:
        """Return tokens after the prompt, without held ones."""
        return len(self._sequence.ids) - self._held - self.prompt_length

    @property
    def ids(self) -> list[int]:
        """All tokens, prompt included, without held ones."""
        return self._sequence.ids[: len(self._sequence.ids) - self._held]

    def after_prompt(self, begin: int = 0) -> list[int]:
        """Return tokens after the prompt from number `begin` on, without held ones."""
        return self._sequence.ids[self.prompt_length + begin : len(self._sequence.ids) - self._held]

    @property
    def sequence(self) -> Sequence:
        """What the engine holds of it, with held tokens: for whoever records chains, not for policies."""
        return self._sequence

    @property
    def spans(self) -> tuple[Span, ...]:
        """Where each token came from, without held ones."""
        return tuple(first_spans(self._spans, len(self.ids)))

    @property
    def text(self) -> str:
        """Everything after the prompt."""
        return self.session.engine.decode(self.after_prompt())

    @property
    def thinking(self) -> str:
        """What was thought so far."""
        text = self.session.engine.decode(self.ids[self.prompt_length : self._answer_from])
        return text.split(self.session.engine.profile.think_close)[0]

    @property
    def answer_text(self) -> str:
        """What follows the thinking; empty while there is none."""
        if self._answer_from is None:
            return ""
        end = self.session.engine.end_ids
        return self.session.engine.decode([i for i in self.ids[self._answer_from :] if i not in end])

    @property
    def last_text(self) -> str:
        """Text that the latest call added, up to the stop text, without the end of the turn."""
        if self.last is None:
            return ""
        begin = len(self._sequence.ids) - len(self.last.ids)
        new = self._sequence.ids[begin : max(begin, self.last.cut)]
        return self.session.engine.decode([i for i in new if i not in self.session.engine.end_ids])

    @property
    def held_text(self) -> str:
        """Text of the held tokens: the cue that the chain stands before, and what its tokens hold around it."""
        return self.session.engine.decode(self._sequence.ids[len(self.ids) :])

    @property
    def thought(self) -> int:
        """Tokens of thinking so far, without what ended it."""
        return len(self) if self._thought is None else self._thought

    @property
    def reopenable(self) -> int:
        """Tokens of the end of thinking that `reopen` would take back; 0 when it would take back nothing."""
        ended = (self.phase, self.ended) in (("answer", "model"), ("done", "turn"))
        if not ended or self.last is None or not self.last.ids or self.asking is not None:
            return 0
        return len(self._sequence.ids) - self.last.cut if self.last.reason == "text" else 1

    # What a policy can do with it

    async def think(
        self,
        until: Collection[str] = (),
        *,
        limit: int | None = None,
        watch: Watch | None = None,
        signals: Signals = _NO_SIGNALS,
        bias: Mapping[int, float] | None = None,
        sampler: Sampler | None = None,
        budget: int | None = None,
    ) -> bool:
        """Think on. True when it paused (at a cue, after `limit` tokens, on a signal); False once thinking is over.

        `bias` is added to the scores of these tokens, `sampler` filters or changes the scores before a token is drawn
        (it has no say where sampling is greedy), `budget` has the engine itself end the thinking once the chain has so
        many tokens of it; all hold for this call alone.

        Paused at a cue, the chain stands before it. Thinking is over when the model closed it, ended its turn, or
        ran into a token limit of the chain or the session.
        """
        if self.phase != "think":
            return False
        engine = self.session.engine
        close = engine.encode(engine.profile.think_close)
        stop_ids = self.session.end_ids | (frozenset(close) if len(close) == 1 else frozenset())
        texts = (*until, *(() if len(close) == 1 else (engine.profile.think_close,)))
        got = await self._sample(
            limit, texts, stop_ids, watch, signals, greedy=False, bias=bias, sampler=sampler, budget=budget
        )
        if got.reason == "budget":
            self._end_thinking("limit")
        elif got.reason == "token" and [got.ids[-1]] != close:
            self._end_thinking("turn", last=1)
            self.phase = "done"
        elif got.reason == "token" or got.match == engine.profile.think_close:
            self._held = 0
            self._end_thinking("model", last=1 if got.reason == "token" else len(self._sequence.ids) - got.cut)
            self._answer_from = len(self._sequence.ids)
        return self.phase == "think"

    async def close_thinking(self, text: str | None = None, *, answer: str | None = None) -> "Chain":
        """Cut the thinking here and let the model write its visible answer.

        `text` is what is put in to close it, by default the profile's `close_thinking`. With `answer` the model writes
        nothing more: that text is the visible answer.
        """
        if self.phase == "think":
            self.inject(self.session.engine.profile.close_thinking if text is None else text)
            self._end_thinking("rule")
            if answer is not None:
                self.inject(answer)
                self.phase = "done"
                self.session.note("end", self, ended=self.ended)
        return await self.finish()

    def reopen(self) -> bool:
        """Take back the end of thinking that the model has just written, so that it can be made to go on.

        The tokens of the end count as dropped. False when there is nothing to take back: thinking goes on, a rule or a
        limit ended it, or the answer has been written.
        """
        if not self.reopenable:
            return False
        self._held = self.reopenable
        self._drop_held()
        self.phase, self.ended, self._answer_from, self._thought = "think", "", None, None
        self.session.note("reopen", self)
        return True

    async def finish(self) -> "Chain":
        """Go on to the natural end: the rest of the thinking, then the answer.

        When thinking ran into a token limit it is closed for the model and the answer comes out of the reserve.
        """
        while await self.think():
            pass
        if self.phase == "answer":
            if self._answer_from is None:
                self.inject(self.session.engine.profile.close_thinking)
            if self.session.answers:
                await self._sample(None, (), self.session.end_ids, None, _NO_SIGNALS, greedy=False)
            self.phase = "done"
            self.session.note("end", self, ended=self.ended)
        return self

    async def write(self) -> "Chain":
        """Think and answer in one call of the engine where no limit binds, as whoever asks a server directly does.

        What a server counts within a call (penalties, least tokens) then counts as it does for anybody. Where a limit
        ends the thinking, the chain goes on as `finish` does.
        """
        if self.phase != "think" or not self.session.answers:
            return await self.finish()
        got = await self._sample(None, (), self.session.end_ids, None, _NO_SIGNALS, greedy=False)
        ended_turn = got.reason == "token"
        closed = closed_at(self.after_prompt(), self.session.engine)
        if closed is not None:
            self.ended, self.phase, self._thought = "model", "answer", closed[0]
            self._answer_from = self.prompt_length + closed[1]
        else:
            self._end_thinking("turn" if ended_turn else "limit", last=int(ended_turn))
        if ended_turn:
            self.phase = "done"
            self.session.note("end", self, ended=self.ended)
        return await self.finish()

    async def answer_anyway(self) -> "Chain":
        """Make a chain that ended its turn without an answer write one: its thinking is closed for it."""
        if self.phase == "done" and self._sequence.ids[-1] in self.session.end_ids:
            self._held = 1
            self._drop_held()
        self.phase = "think"
        self.inject(self.session.engine.profile.close_thinking)
        self.ended, self.phase = self.ended or "turn", "answer"
        return await self.finish()

    async def sample(
        self,
        limit: int | None = None,
        *,
        until: Collection[str] = (),
        watch: Watch | None = None,
        signals: Signals = _NO_SIGNALS,
        greedy: bool = False,
    ) -> Sampled:
        """Sample up to `limit` tokens, to a stop text or to the end of the turn: the raw move, for trial answers."""
        return await self._sample(limit, tuple(until), self.session.end_ids, watch, signals, greedy=greedy)

    def inject(self, text: str) -> "Chain":
        """Append text that the model did not sample; held tokens are dropped first."""
        self._drop_held()
        ids, thought = self.session.engine.encode(text), self.thought
        if ids:
            self._sequence.extend(ids)
            self._spans.append(Span(kind="injected", ids=tuple(ids), by=self.name))
            self.injected += len(ids)
        if self.phase != "done" and self.session.engine.profile.think_close in text:
            self.phase, self._answer_from, self._thought = "answer", len(self._sequence.ids), thought
        self.session.note("inject", self, text=text)
        return self

    def fork(self, *, back: int = 0) -> "Chain":
        """Return a copy that grows on its own; its tokens count as `dropped` unless it is returned.

        The copy is without the last `back` tokens, which must all belong to thinking that still goes on.
        """
        if back and self.phase != "think":
            raise RuntimeError("a chain is forked further back only while it thinks")
        return self._fork(len(self.ids) - back, looks=False)

    def branch(self, thought: int) -> "Chain":
        """A fork after the first `thought` tokens of the thinking: it thinks on, even where this chain is done."""
        if not 0 <= thought <= self.thought:
            raise RuntimeError(f"the chain has {self.thought} tokens of thinking, so it cannot branch after {thought}")
        child = self._fork(self.prompt_length + thought, looks=False)
        child.phase, child.ended, child._answer_from, child._thought = "think", "", None, None
        return child

    def probe(self) -> "Chain":
        """Return a copy made to look at something; its tokens count as `probe` unless it is returned."""
        return self._fork(len(self.ids), looks=True)

    def tap(self, signals: Signals, hear: Callable[[Sampled], None]) -> None:
        """From now on take these signals too with whatever this chain samples, and `hear` it piece by piece.

        A call of the chain comes in one piece, or, in a race or under a budget, in several that follow one
        another. What `hear` raises is raised in whoever asked for the tokens. Forks of the chain are not tapped.
        """
        self._tap = signals, hear

    def look(self, measure: str, value: float, *, stop: bool, threshold: float | None = None, text: str = "") -> None:
        """Write down what a rule saw here and what it decided, for the people who read the chain later."""
        self.session.note("look", self, measure=measure, value=value, threshold=threshold, stop=stop, text=text)

    def drop(self) -> None:
        """Give up this chain and free what the engine holds for it. Idempotent."""
        if not self.closed:
            self.session.note("drop", self)
            self.free()

    # How it works

    def free(self) -> None:
        """Free what the engine holds. Idempotent."""
        if not self.closed:
            self.closed = True
            self._sequence.close()
            if self._parent is not None:
                # The parent waited for what the fork saw; with both running at once the later of the two counts.
                self._parent.clock = max(self._parent.clock, self.clock)

    def _fork(self, length: int, *, looks: bool) -> "Chain":
        name = f"{self.name}.{self._forks}"
        self._forks += 1
        child = Chain(
            self.session, name, self._sequence.fork(length), list(first_spans(self._spans, length)), looks=looks
        )
        child.phase, child.ended, child.clock = self.phase, self.ended, self.clock
        child._answer_from, child._thought, child._parent = self._answer_from, self._thought, self
        self.session.adopt(child)
        self.session.note("fork", child, looks=looks)
        return child

    async def _sample(
        self, limit: int | None, texts: tuple[str, ...], stop_ids: frozenset[int], watch: Watch | None,
        signals: Signals, *, greedy: bool, bias: Mapping[int, float] | None = None, sampler: Sampler | None = None,
        budget: int | None = None,
    ) -> Sampled:  # fmt: skip
        self._held = 0
        begin = len(self._sequence.ids)
        request = Request(
            limit=0, stop_ids=stop_ids, stop_texts=texts, match_from=begin, watch=watch, signals=signals, key=self._key,
            temperature=0.0 if greedy else self.session.temperature, top_p=1.0 if greedy else self.session.top_p,
            urgent=self.looks, bias=(bias or {}) if greedy else {**self.session.bias, **(bias or {})},
            options=None if greedy else self.session.options, thinking_budget=budget,
            sampler=None if greedy else both(sampler, self.session.sampler), on_tokens=self.session.on_tokens,
        )  # fmt: skip
        if self._tap is not None:
            request = replace(request, signals=signals | self._tap[0])
        self.asking = request
        try:
            parts = await self._ask(request, limit)
        finally:
            self.asking = None
        self.last = joined(parts, len(self._sequence.ids))
        self._held = len(self._sequence.ids) - self.last.cut if self.last.reason == "text" else 0
        self.session.note("pause", self, reason=self.last.reason, match=self.last.match, tokens=len(self.last.ids))
        return self.last

    async def _ask(self, request: Request, limit: int | None) -> list[Sampled]:
        """Make one call to the engine, in as many leases as it takes."""
        parts: list[Sampled] = []
        competitor = current_competitor()
        while True:
            want = None if limit is None else limit - sum(len(part.ids) for part in parts)
            if want is not None and want <= 0:
                break
            if competitor is not None:
                room = await competitor.admit(self.clock)
                want = room if want is None else min(want, room)
            grant = self.session.lease(self, want)
            if grant <= 0:
                parts.append(Sampled(ids=(), reason="budget", cut=len(self._sequence.ids)))
                break
            known, before = len(self._sequence.ids), self._sequence.last
            if competitor is not None:
                competitor.begin(self)
            try:
                watched = parts[-1].watched if parts else ()
                parts.append(await self._sequence.sample(replace(request, limit=grant, watched=watched)))
            finally:
                if competitor is not None:
                    competitor.end()
                self.session.settle(grant)
                self._absorb(known, before)
            if self._tap is not None:
                self._tap[1](parts[-1])
            if parts[-1].reason != "length":
                break
        return parts

    def _absorb(self, known: int, before: Sampled | None) -> None:
        """Count the tokens after position `known`, also those of a call that was cancelled half-way."""
        new = tuple(self._sequence.ids[known:])
        self.sampled += len(new)
        self.clock += len(new)
        if new and self._spans[-1].kind == "sampled" and self._spans[-1].by == self.name:
            self._spans[-1] = replace(self._spans[-1], ids=self._spans[-1].ids + new)
        elif new:
            self._spans.append(Span(kind="sampled", ids=new, by=self.name))
        last = self._sequence.last
        if last is not None and last is not before:  # a call that never began leaves the record of the one before it
            self.prefilled += last.prefilled

    def _drop_held(self) -> None:
        if self._held:
            length = len(self.ids)
            self._sequence.cut(length)
            self._spans = list(first_spans(self._spans, length))
            self._held = 0

    def _end_thinking(self, how: Ended, last: int = 0) -> None:
        """Note that thinking is over and that its last `last` tokens ended it."""
        self.ended, self.phase = how, "answer"
        self._thought = self.thought - last
