"""Let chains tell one another, now and then, what they have found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.engine import random_key
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import abreast, elect, follow, level

Route = Literal["dispersed", "clustered", "hybrid", "random"]
OPEN, CLOSE = "<summarize>", "</summarize>"
PROMPT = (
    "{question}\n\nWhile you think, whenever you have an intermediate result, write it down in a few sentences between "
    "<summarize> and </summarize>. Others work on the same problem; what they found may appear between <comment> and "
    "</comment>. Compare it with your own work before you rely on either."
)
TRIGGERS = (
    "Let me pause here and say where I stand.",
    "Before going on, let me sum up what I have.",
    "Okay, time to take stock of what I know so far.",
    "Let me step back and put my findings together.",
    "Now, what have I got up to this point?",
    "Let me write down the state of things for the others.",
    "I should collect my results before the next step.",
)
OPENERS = (
    "In short, my current conclusions are that",
    "Briefly, so far I have found that",
    "To sum up, I now believe that",
    "At this point my results are that",
    "The main things I know by now are that",
    "Put briefly, what I have shown is that",
)
ADVICE = "\nSome of this may be wrong. Let me compare it with what I found before I go on.\n"
ALONE = " <comment> No comments </comment>\n"


@dataclass(frozen=True, kw_only=True)
class Leap:
    """Let chains tell one another, now and then, what they have found.

    All chains think for `turn` tokens. Each that is not done then loses its last, unfinished paragraph and is made to
    sum up in at most `summary_tokens`; it is shown the summaries of `peers` others, and goes on. After `max_turns` what
    still thinks is closed and answers; the majority decides. A chain that began badly gets a chance to notice. This is
    a method for accuracy: it spends more, and each turn waits for its slowest chain.

    By default a chain hears the peers whose summaries are least like its own (*dispersed*), by the ratio 2 LCS / (|a| +
    |b|); *clustered* is the opposite, *hybrid* half of each. Reference code: https://github.com/tongxuluo/LeaP
    (Apache-2.0).

    Differs from the code: the wording of the prompt, triggers and openers is ours, and no worked example is filled in;
    what is drawn at random depends on the seed, the problem and the chain alone; sampling is the session's; with `stop`
    that rule takes over after the last turn in place of a forced answer.
    """

    card: ClassVar = Card(
        id="leap",
        paper="arXiv:2505.07787",
        where="Sec. 3, summarising, routing and commenting",
        needs=frozenset({Need.FORK, Need.INJECT}),
        fidelity="code",
        system="leap",
        ours=("stop",),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 4  # chains
    turn: Annotated[int, Range(1)] = 2048  # tokens of thinking between two exchanges
    max_turns: Annotated[int, Range(1), Counts.CHAINS] = 5  # exchanges at most
    peers: Annotated[int, Range(1), Counts.CHAINS] = 2  # summaries that a chain is shown
    route: Route = "dispersed"  # whose
    summary_tokens: Annotated[int, Range(1)] = 256  # longest summary
    stop: Policy | None = None  # rule that takes over after the last turn; none: thinking is closed

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        chains = [session.chain(PROMPT.format(question=session.problem.question)) for _ in range(self.n)]

        async def think(chain: Chain) -> Chain:
            await chain.think(limit=self.turn)
            return chain

        for turn in range(self.max_turns):
            open_ = [i for i, chain in enumerate(chains) if chain.phase == "think"]
            await abreast(session, [think(chains[i]) for i in open_])
            open_ = [i for i in open_ if chains[i].phase == "think"]
            if not open_:
                break
            told: dict[int, str] = {}
            written = await abreast(session, [self._sum_up(session, chains[i], i, turn, told) for i in open_])
            for i, chain in zip(open_, written, strict=True):
                chains[i] = chain
            level([chains[i] for i in open_])
            speakers = [i for i in open_ if chains[i].phase == "think"]
            for i in speakers:
                others = [j for j in speakers if j != i]
                key = random_key(session.seed, session.problem.id, "route", i, turn)
                heard = route(told[i], [told[j] for j in others], self.peers, self.route, key)
                chains[i].inject(comment([told[others[j]] for j in heard]))
        return elect(session, await abreast(session, [self._end(session, chain) for chain in chains]))

    async def _sum_up(self, session: Session, chain: Chain, number: int, turn: int, told: dict[int, str]) -> Chain:
        """A copy of the chain, less its unfinished paragraph, that has summed up; its summary goes into `told`."""
        key = random_key(session.seed, session.problem.id, "summary", number, turn)
        back = unfinished(session, chain)
        cut = chain.fork(back=back) if back else chain
        if cut is not chain:
            chain.free()
        opener = OPENERS[key // len(TRIGGERS) % len(OPENERS)]
        cut.inject(f"{TRIGGERS[key % len(TRIGGERS)]} {OPEN} {opener}")
        begin = len(cut.ids)
        paused = await cut.think(until=(CLOSE,), limit=self.summary_tokens)
        told[number] = f"{opener}{session.engine.decode(cut.ids[begin:])}".strip()
        if paused and cut.last is not None and cut.last.match:
            await cut.think(limit=0)
        elif paused:
            cut.inject(f" ... {CLOSE}")
        return cut

    async def _end(self, session: Session, chain: Chain) -> Chain:
        if chain.phase != "think":
            return await chain.finish()
        return await (chain.close_thinking() if self.stop is None else follow(self.stop, session, chain))


def unfinished(session: Session, chain: Chain) -> int:
    """How many tokens at the end of the latest call belong to a paragraph that is not done; 0 without a break in it."""
    ids = chain.ids[len(chain.ids) - (len(chain.last.ids) if chain.last is not None else 0) :]
    step, decode = session.engine.profile.step, session.engine.decode
    begin = next((at for at in range(len(ids) - 1, -1, -1) if step in decode(ids[at:])), len(ids))
    end = next((at for at in range(begin, len(ids)) if step in decode(ids[begin : at + 1])), len(ids) - 1)
    return len(ids) - 1 - end


def comment(summaries: Sequence[str]) -> str:
    """The summaries of peers as a chain is shown them."""
    if not summaries:
        return ALONE
    said = " ".join(f'Peer {n}: "{summary}"' for n, summary in enumerate(summaries, 1))
    return f" <comment> {said} </comment>{ADVICE}"


def route(own: str, others: Sequence[str], k: int, how: Route = "dispersed", key: int = 0) -> list[int]:
    """Whose summaries a chain is shown: the positions of at most k others.

    >>> route("x = 4", ["x = 5", "use parity"], 1), route("x = 4", ["x = 5", "use parity"], 1, "clustered")
    ([1], [0])
    """
    near = sorted(range(len(others)), key=lambda j: (similarity(own, others[j]), j))
    match how:
        case "dispersed":
            return near[:k]
        case "clustered":
            return near[::-1][:k]
        case "hybrid":
            low = near[: k // 2]
            return low + [j for j in near[::-1] if j not in low][: k - k // 2]
        case "random":
            return sorted(range(len(others)), key=lambda j: random_key(key, j))[:k]


def similarity(a: str, b: str) -> float:
    """2 LCS / (|a| + |b|): 1 for equal texts, 0 for texts with no character in common; of two empty texts 1.

    >>> round(similarity("x = 4", "x = 5"), 4), round(similarity("x = 4", "use parity"), 4)
    (0.8, 0.1333)
    """
    return 2 * common_subsequence(a, b) / (len(a) + len(b)) if a or b else 1.0


def common_subsequence(a: str, b: str) -> int:
    """Length of the longest common subsequence, by the bit-parallel method of Hyyrö (2004).

    >>> common_subsequence("x = 4", "x = 5"), common_subsequence("abcbdab", "bdcaba")
    (4, 4)
    """
    places: dict[str, int] = {}
    for i, char in enumerate(a):
        places[char] = places.get(char, 0) | 1 << i
    every = (1 << len(a)) - 1
    row = every  # a zero bit is a place at which the length of the subsequence grows
    for char in b:
        matches = row & places.get(char, 0)
        row = (row + matches | row - matches) & every
    return len(a) - row.bit_count()
