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
    sum up in at most `summary_tokens`; it is shown the summaries of `peers` others, and thinks another turn. Between
    `max_turns` turns there are `max_turns` - 1 exchanges (one where there is a single turn); what still thinks after
    the last is closed and answers; the majority decides. A chain that began badly gets a chance to notice. This is a
    method for accuracy: it spends more, and each turn waits for its slowest chain.

    By default a chain hears the peers whose summaries are least like its own (*dispersed*), by the ratio 2 LCS / (|a| +
    |b|); *clustered* is the opposite, *hybrid* shows k // 2 of the least alike and then the most alike; of equally
    alike ones the lower number comes first. Reference code: https://github.com/tongxuluo/LeaP (Apache-2.0).

    Differs from the code: *hybrid* never shows a peer twice, as the code does where few peers are left
    (`repeats=true`); two peers are heard (the code's default is all, without a router: `peers=99`, in another order);
    the wording of the prompt, triggers, openers and comments is ours, and no worked example is filled in; only what the
    latest turn wrote is cut back to its last blank line (the code cuts wherever the last one is, in an earlier comment
    or the prompt too); thinking is closed with the profile's text, and the answer has the session's reserve (the code
    leaves thinking open and allows `summary_tokens`); what is drawn at random depends on the seed, the problem and the
    chain alone; sampling is the session's (there temperature 0.6, top-p 0.95, top-k 40, min-p 0.05); `part` (exchanges
    after chosen turns only), LeaP-T (models that begin a summary themselves) and the variant that summarises for one
    chain are not here; with `stop` that rule takes over after the last turn. Routes and repaired summaries were held
    against the code's on 1,000 random sets of summaries.
    """

    card: ClassVar = Card(
        id="leap",
        paper="arXiv:2505.07787",
        where="Sec. 3, summarising, routing and commenting",
        needs=frozenset({Need.FORK, Need.INJECT}),
        fidelity="code",
        system="leap",
        ours=("peers", "stop"),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 4  # chains
    turn: Annotated[int, Range(1), Counts.CHAINS] = 2048  # tokens of thinking in one turn
    max_turns: Annotated[int, Range(1), Counts.CHAINS] = 5  # turns of thinking at most; the code's scripts have 5 and 6
    peers: Annotated[int, Range(1), Counts.CHAINS] = 2  # summaries that a chain is shown
    route: Route = "dispersed"  # whose
    repeats: bool = False  # hybrid may show a peer twice, as in the code
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
            if not open_ or 0 < turn == self.max_turns - 1:
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
                heard = route(told[i], [told[j] for j in others], self.peers, self.route, key, repeats=self.repeats)
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
        whole = paused and cut.last is not None and bool(cut.last.match)
        if not paused:
            paused = cut.reopen()  # thinking that ends inside a summary goes on, as in the code
        said = f"{opener}{session.engine.decode(cut.ids[begin:])}"
        rest = "" if whole else tag_rest(said)
        told[number] = f"{said}{rest}".partition(CLOSE)[0].strip()
        if whole:
            await cut.think(limit=0)
        elif paused:
            cut.inject(rest)
        return cut

    async def _end(self, session: Session, chain: Chain) -> Chain:
        if chain.phase != "think":
            return await chain.finish()
        return await (chain.close_thinking() if self.stop is None else follow(self.stop, session, chain))


def tag_rest(summary: str) -> str:
    """Return what a summary that was cut off lacks of its closing tag, of which it may have a part already.

    >>> tag_rest("x is 4</summ"), tag_rest("x is")
    ('arize>', '... </summarize>')
    """
    return next((CLOSE[k:] for k in range(len(CLOSE), 1, -1) if summary.endswith(CLOSE[:k])), f"... {CLOSE}")


def unfinished(session: Session, chain: Chain) -> int:
    """How many tokens at the end of the latest call belong to a paragraph that is not done; 0 without a break in it."""
    ids = chain.ids[len(chain.ids) - (len(chain.last.ids) if chain.last is not None else 0) :]
    step, decode = session.engine.profile.step, session.engine.decode
    begin = next((at for at in range(len(ids) - 1, -1, -1) if step in decode(ids[at:])), len(ids))
    end = next((at for at in range(begin, len(ids)) if step in decode(ids[begin : at + 1])), len(ids) - 1)
    return len(ids) - 1 - end


def comment(summaries: Sequence[str]) -> str:
    """Return the summaries of peers as a chain is shown them."""
    if not summaries:
        return ALONE
    said = " ".join(f'Peer {n}: "{summary}"' for n, summary in enumerate(summaries, 1))
    return f" <comment> {said} </comment>{ADVICE}"


def route(
    own: str, others: Sequence[str], k: int, how: Route = "dispersed", key: int = 0, *, repeats: bool = False
) -> list[int]:
    """Return whose summaries a chain is shown: the positions of at most k others.

    `repeats`: the two halves of hybrid are chosen apart, and may both hold the same peer.

    >>> route("x = 4", ["x = 5", "use parity"], 1), route("x = 4", ["x = 5", "use parity"], 1, "clustered")
    ([1], [0])
    """
    alike = [similarity(own, other) for other in others]
    near = sorted(range(len(others)), key=lambda j: (alike[j], j))
    far = sorted(range(len(others)), key=lambda j: (-alike[j], j))
    match how:
        case "dispersed":
            return near[:k]
        case "clustered":
            return far[:k]
        case "hybrid":
            low = near[: k // 2]
            return low + [j for j in far if repeats or j not in low][: k - k // 2]
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
