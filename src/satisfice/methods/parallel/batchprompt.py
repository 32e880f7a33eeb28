"""Ask many questions in one prompt, several times in changing order, and let items that are settled leave."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, NamedTuple

import numpy as np

from satisfice.answers.vote import majority
from satisfice.core.card import Card
from satisfice.core.chain import Chain
from satisfice.core.engine import random_key
from satisfice.core.errors import BadInput
from satisfice.core.fields import Counts, Range, check_fields
from satisfice.core.problem import Problem
from satisfice.core.session import Policy, Session
from satisfice.methods.parallel._inner import follow, new_chain

FORM = (
    "{instruction}\n\nAnswer every input below, each on a line of its own, in the form\nLabel 0: ANSWER (confident)\n"
    "with the number of the input, and with (not confident) where you are not sure. Write nothing else.\n\n{items}"
)
_LINE = re.compile(
    r"^\W*(?:label|input)?\s*(?P<index>\d+)\s*:\s*(?P<label>.*?)\s*[(\[]?\s*(?P<sure>(?:not )?confident)\s*[)\]]?\W*$",
    re.IGNORECASE | re.MULTILINE,
)


Same = Callable[[str, str], bool]


class Label(NamedTuple):
    """What one round says of one item."""

    answer: str
    confident: bool


@dataclass(frozen=True, kw_only=True)
class BatchPrompt:
    """Ask many questions in one prompt, several times in changing order, and let items that are settled leave.

    The problem holds a batch of items (`pack` makes one of several problems). In each of `rounds` rounds the items that
    are left are asked in a new order, and the model says of each label whether it is confident. A confident label has
    one vote, another `alpha`; the weighted majority is an item's answer. An item with the same confident label in two
    rounds running leaves with that label. One instruction serves all items, which is what saves input.

    An item that a round says nothing of has no vote in it and stays. Of equal votes the confident label said last wins,
    else the one said first. The wording of the prompt is ours. The returned chain holds no sampled token: its answer
    is put together from those of all rounds, one line an item.
    """

    card: ClassVar = Card(
        id="batchprompt",
        paper="arXiv:2309.00384",
        where="batch permutation and ensembling with self-reflection-guided early stopping",
        needs=frozenset(),
        fidelity="second-hand",
        system="batchprompt",
        ours=("rounds", "stop"),
    )

    rounds: Annotated[int, Range(1), Counts.CHAINS] = 5  # at most; the paper has odd numbers from 1 to 9
    alpha: Annotated[float, Range(0, 1)] = 0.2  # vote of a label that is not confident
    early: bool = True  # settled items leave
    stop: Policy | None = None  # rule that each round's chain follows; none: it runs to its end

    def __post_init__(self) -> None:
        check_fields(self)

    async def __call__(self, session: Session) -> Chain:
        instruction, items = contents(session.problem)
        votes: dict[int, list[Label | None]] = {i: [] for i in range(len(items))}
        settled: dict[int, str] = {}
        chains: list[Chain] = []
        for r in range(self.rounds):
            left = [i for i in votes if i not in settled]
            if not left:
                break
            key = random_key(session.seed, session.problem.id, "order", r)
            order = [left[j] for j in np.random.default_rng(key).permutation(len(left))]
            question = FORM.format(instruction=instruction, items="\n".join(f"Input {i}: {items[i]}" for i in order))
            chains.append(await follow(self.stop, session, new_chain(session, after=chains, question=question)))
            said = labels(chains[-1].answer_text)
            for i in left:
                votes[i].append(said.get(i))
                if self.early and (label := leaves(votes[i], session.same)):
                    settled[i] = label
        answers = {i: settled.get(i) or elected(votes[i], self.alpha, session.same) for i in votes}
        chain = new_chain(session, after=chains)
        chain.look("items that left early", len(settled) / len(items), stop=True)
        whole = "\n".join(f"{i}: {answers[i] or ''}".rstrip() for i in answers) if len(items) > 1 else answers[0] or ""
        return await chain.close_thinking(answer=whole)


def pack(problems: Sequence[Problem], instruction: str) -> Problem:
    """Return one problem out of several that share an instruction; its reference answer has a line for each."""
    if not problems:
        raise BadInput("pack: problems must not be empty.")
    return Problem(
        id="+".join(problem.id for problem in problems),
        task=problems[0].task,
        question=instruction + "\n" + "\n".join(f"Input {i}: {p.question}" for i, p in enumerate(problems)),
        answer="\n".join(f"{i}: {problem.answer}" for i, problem in enumerate(problems)),
        metadata={"instruction": instruction, "items": [problem.question for problem in problems]},
    )


def contents(problem: Problem) -> tuple[str, list[str]]:
    """Return the instruction and the items of a problem; one that was not packed is a batch of one."""
    items = problem.metadata.get("items")
    if isinstance(items, list) and items and all(isinstance(item, str) for item in items):
        return str(problem.metadata.get("instruction", "")), items
    return "", [problem.question]


def labels(text: str) -> Mapping[int, Label]:
    """Return what an answer says of each item; an item named twice has its last label.

    >>> labels("Label 0: yes (confident)\\nLabel 2: no (not confident)")
    {0: Label(answer='yes', confident=True), 2: Label(answer='no', confident=False)}
    """
    return {
        int(m["index"]): Label(m["label"].strip(), m["sure"].lower() == "confident")
        for m in _LINE.finditer(text)
        if m["label"].strip()
    }


def leaves(rounds: Sequence[Label | None], same: Same = str.__eq__) -> str | None:
    """Return the label with which an item leaves: the same and confident in the last two rounds.

    >>> leaves([Label("A", True), Label("A", True)])
    'A'
    """
    two = rounds[-2:]
    if len(two) < 2 or not all(label is not None and label.confident for label in two):
        return None
    before, now = two
    return now.answer if before is not None and now is not None and same(before.answer, now.answer) else None


def elected(rounds: Sequence[Label | None], alpha: float = 0.2, same: Same = str.__eq__) -> str | None:
    """Return the label with most votes, 1 for a confident one and `alpha` for another; None where no round said one.

    >>> elected([Label("A", True), Label("B", False), Label("B", False)])
    'A'
    """
    said = [label for label in rounds if label is not None]
    newest = [label for label in reversed(said) if label.confident] + [label for label in said if not label.confident]
    weights = [1.0 if label.confident else alpha for label in newest]
    return majority([label.answer for label in newest], same=same, weights=weights).answer
