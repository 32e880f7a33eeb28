"""Take the chain that wandered least: the fewest steps on branches that it gave up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from satisfice.core.card import Card, Need
from satisfice.core.chain import Chain
from satisfice.core.errors import BadInput
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import abreast, follow, new_chain

GRAPH = (
    "Below is a chain of thought. Turn it into a directed graph in Graphviz form. Each step of reasoning is a node on "
    'a line of its own, such as n3 [label="tries x = 2", status="failed"]; give status "failed" to every step of a '
    'line of thought that was given up before the answer, and "kept" to the others. Each edge is a line such as n1 -> '
    "n3. Write the graph and nothing else.\n\nQuestion:\n{question}\n\nChain of thought:\n{chain}"
)
REVIEW = (
    "Below is a chain of thought in numbered pieces. For each piece say on a line of its own its number and one word: "
    "progress, if it moves the solution forward, or review, if it checks, repeats or questions what was there before. "
    "Write nothing else.\n\nQuestion:\n{question}\n\n{chain}"
)
GIVEN_UP = (
    r"(?i)\b(?:does(?:n't| not) work|(?:is|was) wrong|that's wrong|not right|mistake|start over|try (?:another|again))"
)
_NODE = re.compile(r"""^\s*"?(?P<name>\w+)"?\s*\[(?P<about>[^\]]*)\]""", re.MULTILINE)
_FAILED = re.compile(r"""status\s*=\s*"?failed\b""", re.IGNORECASE)
_LABEL = re.compile(r"^\W*(?P<number>\d+)\W+(?P<label>progress|review)\b", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class FsfSelect:
    """Take the chain that wandered least: the fewest steps on branches that it gave up.

    Of n chains that run to their end the one with the lowest measure is taken:

        fsf = failed steps / all steps,    review = characters of review / all characters,    length in tokens

    A judge, here the same model in a chain of its own, draws the chain of thought as a graph and marks the steps on
    branches that were given up before the answer, or says of each paragraph whether it is progress or review. The
    judge is dear: one call a chain, with the chain to read. `judge=markers` counts the steps in which the expression
    `markers` matches, at no cost: a stand-in. A chain without a readable answer is not taken while another has one;
    where a judgement cannot be read, length decides among all; of equals the shorter chain is taken.

    The prompts and the form of the graph are ours, and so is the stand-in.
    """

    card: ClassVar = Card(
        id="fsf-select",
        paper="arXiv:2509.19284",
        where="test-time selection by failed-step fraction; prompts are ours",
        needs=frozenset({Need.INJECT}),
        fidelity="reconstructed",
        system="failed-step-fraction",
        ours=("n", "judge", "judge_tokens", "markers", "stop"),
    )

    n: Annotated[int, Range(1), Counts.CHAINS] = 8  # chains; the paper has 64
    measure: Literal["fsf", "review", "length"] = "fsf"  # what is lowest in the chain that is taken
    judge: Literal["model", "markers"] = "model"  # who says which steps failed
    judge_tokens: Annotated[int, Range(1)] = 1024  # longest judgement
    markers: str = GIVEN_UP  # expression: a step in which it matches was given up
    stop: Policy | None = None  # rule that each chain follows; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)
        try:
            re.compile(self.markers)
        except re.error as error:
            raise BadInput(f"fsf-select: markers is no regular expression, got {self.markers!r}: {error}.") from error

    async def __call__(self, session: Session) -> Chain:
        chains = await abreast(session, [follow(self.stop, session, session.chain()) for _ in range(self.n)])
        answering = [chain for chain in chains if session.parse(chain.answer_text) is not None] or chains
        measures = await self._measure(session, answering)
        readable = [value for value in measures if value is not None]
        known = len(readable) == len(measures) and self.measure != "length"
        keys = [
            (value if known and value is not None else 0.0, len(c))
            for value, c in zip(measures, answering, strict=True)
        ]
        best = answering[min(range(len(answering)), key=keys.__getitem__)]
        best.look(self.measure if known else "length", keys[answering.index(best)][0 if known else 1], stop=True)
        return best

    async def _measure(self, session: Session, chains: Sequence[Chain]) -> list[float | None]:
        if self.measure == "length":
            return [None] * len(chains)
        pieces = [
            [part for part in chain.thinking.split(session.engine.profile.step) if part.strip()] for chain in chains
        ]
        if self.judge == "markers":
            return [marked(parts, self.markers, by_length=self.measure == "review") for parts in pieces]
        prompt = GRAPH if self.measure == "fsf" else REVIEW
        numbered = ["\n\n".join(f"[{n}] {part}" for n, part in enumerate(parts, 1)) for parts in pieces]
        shown = [chain.thinking for chain in chains] if self.measure == "fsf" else numbered
        asked = [prompt.format(question=session.problem.question, chain=text) for text in shown]

        async def judge(chain: Chain) -> Chain:
            chain.inject(session.engine.profile.skip_thinking)
            await chain.sample(self.judge_tokens)
            return chain

        judges = await abreast(session, [judge(new_chain(session, after=chains, question=text)) for text in asked])
        said = [chain.answer_text for chain in judges]
        if self.measure == "fsf":
            return [failed_fraction(text) for text in said]
        return [review_ratio(parts, text) for parts, text in zip(pieces, said, strict=True)]


def failed_fraction(graph: str) -> float | None:
    """Failed nodes over all nodes of a graph in Graphviz form; None when it has no node that can be read.

    >>> failed_fraction('digraph {\\n n1 [label="a"]\\n n2 [label="b", status="failed"]\\n n1 -> n2\\n}')
    0.5
    """
    nodes = {m["name"]: bool(_FAILED.search(m["about"])) for m in _NODE.finditer(graph)}
    for kind in ("graph", "node", "edge"):  # defaults of the form, no steps
        nodes.pop(kind, None)
    return sum(nodes.values()) / len(nodes) if nodes else None


def review_ratio(pieces: Sequence[str], judgement: str) -> float | None:
    """Characters in pieces called review over all characters; None unless every piece got a label.

    >>> review_ratio(["abcdef", "gh"], "1: progress\\n2: review")
    0.25
    """
    labels = {int(m["number"]): m["label"].lower() for m in _LABEL.finditer(judgement)}
    if not pieces or not all(n in labels for n in range(1, len(pieces) + 1)):
        return None
    return sum(len(piece) for n, piece in enumerate(pieces, 1) if labels[n] == "review") / sum(map(len, pieces))


def marked(pieces: Sequence[str], markers: str, *, by_length: bool = False) -> float | None:
    """Return the share of pieces, or of their characters, in which the expression matches; None without a piece."""
    if not pieces:
        return None
    weights = [len(piece) if by_length else 1 for piece in pieces]
    hit = [weight for piece, weight in zip(pieces, weights, strict=True) if re.search(markers, piece)]
    return sum(hit) / sum(weights)
