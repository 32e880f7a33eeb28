"""A chain that was recorded, as builders of training data see it: its tokens, and what it would have answered where."""

import bisect
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from satisfice.core.card import Requirement
from satisfice.core.problem import Problem, Verdict
from satisfice.core.profile import R1, Profile
from satisfice.core.span import Ended

LOOKS = Requirement("looks", "answers that were asked for at cues or steps (`satisfice record --at cue`)")
STATED = Requirement("stated", "answers that the thinking itself states (`stated_answer` in the profile)")
SEVERAL = Requirement("several", "several chains of a problem (`satisfice record --chains 8`)")
CERTAINTY = Requirement("certainty", "log-probabilities of trial answers")
SOURCES = Requirement("sources", "chains of two models: the recording of the long one, then that of the short one")
ABSENCE = Requirement("absence", "what an answer loses without a step (`satisfice shorten --scorer MODEL`)")


@dataclass(frozen=True, kw_only=True)
class Look:
    """A place in the thinking at which a copy of the chain was told to answer."""

    at: int  # tokens of thinking before it
    why: frozenset[str]  # of start, cue, step, every, limit
    answer: str | None
    verdict: Verdict
    ids: tuple[int, ...]  # the visible answer in tokens, the end of the turn included
    text: str
    complete: bool  # it ended its turn
    certainty: float | None = None  # geometric mean probability of a trial answer's tokens here
    logprobs: tuple[float, ...] | None = None  # of the tokens of the visible answer, nats


@dataclass(frozen=True, kw_only=True)
class Solution:
    """A stretch of thinking that comes to an answer: up to a cue, or to the end of the thinking."""

    begin: int
    end: int
    look: Look | None  # None: the last one, which the chain's own visible answer follows
    verdict: Verdict


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """One recorded chain. Tokens are counted from the end of the prompt."""

    problem: Problem
    prompt: tuple[int, ...]
    ids: tuple[int, ...]  # thinking, closing tag, visible answer, end of the turn
    pieces: tuple[str, ...]  # the text of each of them; those that end the turn have none
    thinking: int  # of these, tokens before the closing tag
    ended: Ended
    answer: str | None
    verdict: Verdict
    looks: tuple[Look, ...] = ()  # by place
    stated: tuple[tuple[int, Verdict], ...] = ()
    """Where the thinking itself states an answer, as the profile knows it: tokens up to its end, and its verdict."""
    seed: int = 0
    name: str = "0"  # number of the chain within its session
    source: int = 0  # number of the recording that it is from
    profile: Profile = R1
    logprobs: tuple[float, ...] | None = None  # of each token when it was sampled, nats; None: not recorded
    absence: tuple[tuple[int, int, float], ...] | None = None
    """Begin and end of a stretch, and how much the mean negative log-probability of the answer's tokens rises without
    it, nats; None where that was not measured."""

    @property
    def key(self) -> tuple[str, str, int, int, str]:
        """What sets it apart from all others: task, problem, source, seed, name."""
        return self.problem.task, self.problem.id, self.source, self.seed, self.name

    @property
    def whole(self) -> bool:
        """Whether the model itself ended its thinking and answered."""
        return self.ended == "model"

    @property
    def right(self) -> bool:
        """Whether it is whole and its answer is right."""
        return self.whole and self.verdict is Verdict.RIGHT

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Characters before each token, and behind the last."""
        return tuple(itertools.accumulate(map(len, self.pieces), initial=0))

    def text(self, begin: int = 0, end: int | None = None) -> str:
        """Return the text of some of the tokens."""
        return "".join(self.pieces[begin:end])

    def tokens_over(self, begin: int, end: int) -> tuple[int, int]:
        """Return the tokens that overlap the characters from `begin` to `end`: the first, and the one after the last.

        A token that reaches over an edge belongs to them whole.
        """
        first = bisect.bisect_right(self.offsets, begin) - 1
        return first, max(first, bisect.bisect_left(self.offsets, end, first))

    @cached_property
    def steps(self) -> tuple[tuple[int, int], ...]:
        """Return the steps of the thinking in tokens: begin and end of each, without gaps.

        A step ends with the profile's delimiter; a token that goes over the delimiter belongs to the step before.
        """
        mark, text = self.profile.step, self.text(0, self.thinking)
        ends, place = [], text.find(mark) if mark else -1
        while place >= 0:
            place += len(mark)
            ends.append(min(self.tokens_over(max(0, place - 1), place)[1], self.thinking))
            place = text.find(mark, place)
        cuts = sorted({0, *ends, self.thinking})
        return tuple(itertools.pairwise(cuts))

    @cached_property
    def solutions(self) -> tuple[Solution, ...]:
        """Return the stretches of thinking that come to an answer, without gaps; the last is what follows the others.

        One ends before each cue with a look, once the thinking holds a candidate answer as the profile knows them;
        where the profile knows none in the whole chain, before each such cue. So the first is the first solution, and
        each other one looks back at it or tries another way.
        """
        answered = self.profile.candidate.search(self.text(0, self.thinking))
        first = 0 if answered is None else self.tokens_over(*answered.span())[1]
        found, begin = [], 0
        for look in self.looks:
            if "cue" not in look.why or not max(begin + 1, first) <= look.at < self.thinking or not look.complete:
                continue
            found.append(Solution(begin=begin, end=look.at, look=look, verdict=look.verdict))
            begin = look.at
        last = Solution(begin=begin, end=self.thinking, look=None, verdict=self.verdict)
        return (*found, last)


def provided(traces: Collection[Trace]) -> frozenset[str]:
    """Return the names of what some traces can tell a builder, beside tokens and verdicts."""
    found = set()
    if any("start" not in look.why for trace in traces for look in trace.looks):
        found.add(LOOKS.name)
    if any(trace.stated for trace in traces):
        found.add(STATED.name)
    if any(look.certainty is not None for trace in traces for look in trace.looks):
        found.add(CERTAINTY.name)
    if any(len(group) > 1 for group in by_problem(traces)):
        found.add(SEVERAL.name)
    if len({trace.source for trace in traces}) > 1:
        found.add(SOURCES.name)
    if traces and all(trace.absence is not None for trace in traces):
        found.add(ABSENCE.name)
    return frozenset(found)


def by_problem(traces: Collection[Trace]) -> Iterator[list[Trace]]:
    """Yield the traces of each problem, all of it in an order that does not depend on theirs."""
    ordered: Sequence[Trace] = sorted(traces, key=lambda trace: trace.key)
    for _, group in itertools.groupby(ordered, key=lambda trace: trace.key[:2]):
        yield list(group)
